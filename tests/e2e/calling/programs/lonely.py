"""`python lonely.py MODE FOLDER`: a client that runs an app, says what it does, and may be killed or paused."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import afield

app = afield.App("lonely")


@app.function()
def work(folder: str, seconds: float) -> str:
    Path(folder, "begun").touch()
    time.sleep(seconds)
    Path(folder, "done").touch()
    return "done"


def main(mode: str, folder: str) -> None:
    with app.run(name=f"lonely-{mode}", detach=mode == "detached"):
        call = work.spawn(folder, 3 if mode == "detached" else 600)
        print(app.app_id, call.object_id, flush=True)
        tell(call.get)
        tell(lambda: work.remote(folder, 0))


def tell(what: Callable[[], str]) -> None:
    try:
        print(what(), flush=True)
    except afield.exception.Error as error:
        print(f"{type(error).__name__}: {error}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
