"""A client that spawns calls with much to carry, more than a small disk holds, and then wants all their results.

usage: bulky.py GATE    the calls run when the file GATE is there
"""

import json
import os
import sys
import time

import afield

app = afield.App("bulky")


@app.function(max_containers=2, timeout=300)
def number(x: int, ballast: bytes, gate: str) -> int:
    """Wait for the gate."""
    assert len(ballast) == 150_000
    while not os.path.exists(gate):
        time.sleep(0.05)
    return x


if __name__ == "__main__":
    with app.run():
        calls = [number.spawn(x, os.urandom(150_000), sys.argv[1]) for x in range(120)]
        print(json.dumps([call.get(timeout=120) for call in calls]))
