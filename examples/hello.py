"""The smallest program: one function runs in a container, what it prints and what it returns come back.

afield run examples/hello.py
afield run examples/hello.py --number 12
"""

import os

import afield

app = afield.App("hello")


@app.function()
def square(number: int) -> int:
    print(f"squaring {number} in process {os.getpid()}")
    return number * number


@app.local_entrypoint()
def main(number: int = 42) -> None:
    print(f"this is process {os.getpid()}")
    print(f"the square of {number} is {square.remote(number)}")
