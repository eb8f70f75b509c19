"""A generator in a container: rows of the Mandelbrot set are drawn here while the next ones are computed there.

afield run examples/generator.py
afield run examples/generator.py --width 120 --height 40
"""

import time
from collections.abc import Iterator

import afield

app = afield.App("generator")

SHADES = " .:-=+*#%@"


@app.function()
def rows(width: int, height: int, depth: int) -> Iterator[str]:
    """Yield the picture row by row, top to bottom."""
    for y in range(height):
        row = ""
        for x in range(width):
            c = complex(-2.2 + 3.2 * x / width, 1.2 - 2.4 * y / height)
            z, steps = 0j, 0
            while abs(z) < 2 and steps < depth:
                z, steps = z * z + c, steps + 1
            row += SHADES[steps * (len(SHADES) - 1) // depth]
        yield row


@app.local_entrypoint()
def main(width: int = 78, height: int = 28, depth: int = 200) -> None:
    began = time.perf_counter()
    first = 0.0
    for row in rows.remote_gen(width, height, depth):
        first = first or time.perf_counter() - began
        print(row)
    print(f"first row after {first:.3f} s, all {height} after {time.perf_counter() - began:.3f} s")
