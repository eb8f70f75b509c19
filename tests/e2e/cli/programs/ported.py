"""Written for another name of the library."""

# mypy: ignore-errors
# The name exists only under `afield run --alias modal`.

import modal
from modal.exception import InvalidError

app = modal.App("ported")


class Thing:
    def __init__(self, value: int) -> None:
        self.value = value


@app.function()
def grow(thing: Thing) -> Thing:
    return Thing(thing.value + 1)


@app.local_entrypoint()
def main() -> None:
    grown = grow.remote(Thing(1))
    print("ported", type(grown) is Thing, grown.value, InvalidError.__module__)
