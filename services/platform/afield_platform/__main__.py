"""`python -m afield_platform`: supervise one platform on this host."""

import sys

from afield_platform.options import parse
from afield_platform.supervisor import Supervisor

if __name__ == "__main__":
    sys.exit(Supervisor(parse()).run())
