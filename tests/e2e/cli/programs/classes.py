"""A class with two methods, and one with one."""

import afield

app = afield.App("classes")


@app.cls()
class Greeter:
    greeting: str = afield.parameter(default="Hello")

    @afield.method()
    def greet(self, name: str, times: int = 1) -> None:
        print(" ".join([f"{self.greeting}, {name}!"] * times))

    @afield.method()
    def raw(self) -> str:
        return self.greeting


@app.cls()
class Other:
    @afield.method()
    def only(self, *args: str) -> None:
        print("only", *args)
