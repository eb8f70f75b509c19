"""A module of a package, with a sibling."""

import afield

from . import sibling

app = afield.App("pkg")


@app.function()
def far() -> str:
    return sibling.where() + " " + __name__


@app.local_entrypoint()
def main() -> None:
    print("pkg", far.remote())
