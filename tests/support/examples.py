"""How many examples the state machines try."""

import os
from typing import Final

DEPTH: Final = 20 if "AFIELD_EXPLORE" in os.environ else 1
"""Times as many in `make explore`."""
