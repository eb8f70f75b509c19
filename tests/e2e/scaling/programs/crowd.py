"""Functions that compete for one host."""

import time

import afield

app = afield.App("crowd")


@app.function()
def burst(seconds: float) -> float:
    """Take a while; many of these are queued."""
    time.sleep(seconds)
    return seconds


@app.function()
def single(value: int) -> int:
    """Called now and then, by somebody who waits."""
    return value


@app.function(cpu=64.0, memory=2**30)
def too_large() -> None:
    """Needs more than any host has."""


@app.function(gpu=["H100:8", "B200"])
def needs_devices() -> None:
    """Needs devices that no host of these tests has."""
