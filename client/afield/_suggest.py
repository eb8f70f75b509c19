"""What somebody may have meant by a misspelt name."""

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `: did you mean 'x'?` for the nearest known name; nothing when none is near."""
    near = difflib.get_close_matches(name, [each for each in known if not each.startswith("_")], n=1)
    return f": did you mean {near[0]!r}?" if near else ""
