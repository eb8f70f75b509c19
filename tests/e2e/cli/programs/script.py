"""A plain script that makes calls until it is interrupted."""

import afield

app = afield.App("script")


@app.function()
def double(x: int) -> int:
    return 2 * x


if __name__ == "__main__":
    print("begun", flush=True)
    with app.run():
        number = 0
        while True:
            assert double.remote(number) == 2 * number
            number += 1
