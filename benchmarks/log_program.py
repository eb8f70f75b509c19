"""A program whose function prints the time, now and then, so that its reader can tell how late a line comes."""

import time

import afield

app = afield.App("log-latency")


@app.function()
def speak(lines: int, pause: float) -> None:
    for number in range(lines):
        print(f"line {number} {time.monotonic_ns()}")
        time.sleep(pause)


@app.local_entrypoint()
def main(lines: int = 40, pause: float = 0.07) -> None:
    speak.remote(lines, pause)
