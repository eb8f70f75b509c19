"""A client that spawns calls of a detached app, says their ids, and then waits until it is killed.

usage: spawner.py COUNT SECONDS    spawn; each call sleeps for SECONDS and returns 10 times its number
       spawner.py --collect ID...  print the results of calls, as JSON
"""

import json
import sys
import time

import afield

app = afield.App("detached")


@app.function(max_containers=4)
def tenfold(x: int, seconds: float) -> int:
    """Take a while."""
    time.sleep(seconds)
    return 10 * x


def spawn(count: int, seconds: float) -> None:
    """Spawn, and stay."""
    with app.run(detach=True):
        calls = [tenfold.spawn(x, seconds) for x in range(count)]
        print(json.dumps({"app": app.app_id, "calls": [call.object_id for call in calls]}), flush=True)
        time.sleep(3600)


def collect(ids: list[str]) -> None:
    """Wait for the results."""
    print(json.dumps([afield.FunctionCall.from_id(each).get(timeout=90) for each in ids]))


if __name__ == "__main__":
    if sys.argv[1] == "--collect":
        collect(sys.argv[2:])
    else:
        spawn(int(sys.argv[1]), float(sys.argv[2]))
