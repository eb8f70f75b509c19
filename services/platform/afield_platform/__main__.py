"""`python -m afield_platform`: supervise one platform on this host."""

import sys

from afield_platform.early import Early

if __name__ == "__main__":
    # Before anything else is imported. With --separate there is no process of all services.
    early = Early.start() if "--separate" not in sys.argv else None

    from afield_platform.options import parse
    from afield_platform.supervisor import Supervisor

    sys.exit(Supervisor(parse(), early).run())
