"""`python -m support.fake_owner`: a program that starts a private platform, prints its record, and lives on.

With the argument `fork` it leaves a forked child behind, as multiprocessing does.
"""

import json
import os
import sys
import time

from afield import _launch, embedded
from support.launching import use_fake_services


def main() -> None:
    """Hold a platform until killed."""
    use_fake_services()
    hold = embedded.acquire()
    record = _launch.private_folders()[0].record()
    forked = os.fork() if "fork" in sys.argv else -1
    if forked == 0:
        os.closerange(0, 3)
        time.sleep(3600)
    print(json.dumps({"record": record, "supervisor": hold.pid, "forked": forked}), flush=True)
    time.sleep(3600)


if __name__ == "__main__":
    main()
