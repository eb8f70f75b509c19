"""structlog without rich, which it imports where that is installed, to draw tracebacks: 40 ms and 5 MB of a service.

Ours are drawn plainly. Import structlog from here.
"""

import sys
from typing import Final

_HIDDEN: Final = "rich"

_there = sys.modules.get(_HIDDEN)
sys.modules[_HIDDEN] = None  # type: ignore[assignment]  # the import system's word for a module that cannot be had
try:
    import structlog
finally:
    del sys.modules[_HIDDEN]
    if _there is not None:
        sys.modules[_HIDDEN] = _there

__all__ = ["structlog"]
