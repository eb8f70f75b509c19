"""What functions call a GPU, from the name that its driver gives it. Pure."""

import re
from typing import Final

_BRANDS: Final = frozenset({"NVIDIA", "TESLA", "QUADRO", "GEFORCE"})
_NOISE: Final = frozenset({"GENERATION", "EDITION", "SERVER", "WORKSTATION", "BLACKWELL"})
_FAMILIES: Final = ("RTX", "GTX", "TITAN", "PRO")
"""Words that are part of a model's name: `RTX A6000`."""
_BY_MEMORY: Final = frozenset({"A100"})
"""Models that come with more than one size of memory, which functions tell apart."""

_MODEL: Final = re.compile(r"[A-Z]{0,3}[0-9]{1,4}[A-Z]{0,2}\Z")
_SIZE: Final = re.compile(r"([0-9]+) ?GB?\b")


def kind_of(name: str, memory_mib: int = 0) -> str:
    """Return the kind of a device by its driver's name: `NVIDIA H100 80GB HBM3` is an `H100`.

    `memory_mib` settles what the name leaves open. A name that is of no known form is the kind itself, in capitals and
    with hyphens.
    """
    words = [word for word in re.split(r"[\s/_-]+", name.upper()) if word and word not in _BRANDS]
    model: list[str] = []
    for word in words:
        model.append(word)
        if word not in _FAMILIES:
            break
    if not model or not _MODEL.match(model[-1]):
        return "-".join(re.sub(r"[^A-Z0-9]", "", word) for word in words) or "UNKNOWN"
    rest = words[len(model) :]
    if model[0] in ("RTX", "GTX"):
        # A TI is another card than the one without, and so is one of the Ada generation.
        model += [word for word in rest if word in ("TI", "SUPER", "ADA", "LAPTOP") and word not in _NOISE]
    kind = "-".join(model)
    if kind in _BY_MEMORY:
        size = _gigabytes(" ".join(rest)) or _round_gigabytes(memory_mib)
        return f"{kind}-{size}GB" if size else kind
    return kind


def _gigabytes(text: str) -> int:
    match = _SIZE.search(text)
    return int(match[1]) if match else 0


def _round_gigabytes(memory_mib: int) -> int:
    """Return the size that a card is sold with: a little is always taken."""
    return 20 * round(memory_mib / 1024 / 20)
