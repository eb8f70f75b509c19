"""What goes wrong in a container comes back as what it is.

afield run examples/errors.py
"""

import os
import sys

import afield

app = afield.App("errors")


class OutOfStockError(Exception):
    """An exception of our own, with attributes."""

    def __init__(self, article: str, wanted: int, left: int) -> None:
        super().__init__(f"{wanted} x {article} wanted, {left} left")
        self.article = article
        self.missing = wanted - left


@app.function()
def order(article: str, wanted: int) -> str:
    stock = {"tea": 100, "milk": 3}
    try:
        left = stock[article]
    except KeyError as error:
        raise LookupError(f"no such article: {article}") from error
    if wanted > left:
        raise OutOfStockError(article, wanted, left)
    return f"{wanted} x {article} ordered"


@app.function()
def leave(how: str) -> None:
    print(f"about to leave by {how}")
    if how == "sys.exit":
        sys.exit(3)
    os._exit(4)  # the whole container ends, without a word


@app.local_entrypoint()
def main() -> None:
    try:
        order.remote("milk", 5)
    except OutOfStockError as error:
        print(f"our own exception, with its attributes: {error.missing} {error.article} missing")

    try:
        order.remote("coffee", 1)
    except LookupError as error:
        print(f"with its cause: {error!r} because of {error.__cause__!r}")

    print("a map goes on past the inputs that fail:")
    wishes = [("tea", 2), ("milk", 5), ("coffee", 1), ("tea", 40)]
    for answer in order.starmap(wishes, return_exceptions=True):
        print(f"    {answer!r}")

    for how in ("sys.exit", "os._exit"):
        try:
            leave.remote(how)
        except afield.exception.Error as error:
            print(f"{how}: {type(error).__name__}: {str(error).splitlines()[0]}")
