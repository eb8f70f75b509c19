"""Functions that are quick, until they are not: containers are sent their inputs ahead of time."""

import hashlib
import os
import time
from pathlib import Path

import afield

app = afield.App("hasty")


@app.function(max_containers=1)
def alone(seconds: float) -> float:
    """Take as long as asked, in one container; return when it began."""
    began = time.monotonic()
    if seconds:
        time.sleep(seconds)
    return began


@app.function()
def take(seconds: float) -> float:
    """Take as long as asked; return when that was over."""
    if seconds:
        time.sleep(seconds)
    return time.monotonic()


@app.function()
def deaf(rounds: int) -> int:
    """Compute without ever looking up: no signal is heard before it is done."""
    if rounds:
        hashlib.pbkdf2_hmac("sha256", b"x", b"y", rounds)
    return rounds


@app.function(timeout=1)
def limited(seconds: float) -> float:
    """Take as long as asked, of a second."""
    time.sleep(seconds)
    return seconds


@app.function(retries=0)
def note(folder: str, name: str) -> str:
    """Note that it ran; `end` ends its container."""
    with (Path(folder) / name).open("a") as file:
        file.write("x")
    if name == "end":
        os._exit(3)
    return name


@app.function()
def ask(depth: int) -> int:
    """Call itself down to zero."""
    return 0 if depth == 0 else 1 + ask.remote(depth - 1)
