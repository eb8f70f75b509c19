"""No entrypoint and one function."""

import afield

app = afield.App("sole")


@app.function()
def only(word: str = "nothing") -> str:
    print(f"only {word}")
    return f"result of {word}"
