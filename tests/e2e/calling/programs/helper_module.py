"""A sibling of the entry file: it must travel along without being named."""


def shout(text: str) -> str:
    """Return the text, louder."""
    return text.upper() + "!"
