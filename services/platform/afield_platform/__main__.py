"""`python -m afield_platform`: supervise one platform on this host."""

import sys

from afield_platform.early import Early


def _start_services() -> Early | None:
    """Start the services' process before anything else is imported. With --separate there is none of all services."""
    if "--separate" in sys.argv:
        return None
    try:
        return Early.start()
    except OSError:
        return None  # the supervisor will try in its own way, and knows whom to tell what is wrong


if __name__ == "__main__":
    services = _start_services()

    from afield_platform.options import parse
    from afield_platform.supervisor import Supervisor

    sys.exit(Supervisor(parse(), services).run())
