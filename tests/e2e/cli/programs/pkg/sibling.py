"""Shipped along."""


def where() -> str:
    return "beside " + __name__
