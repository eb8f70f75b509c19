"""Processes without standard streams."""

import subprocess
import sys

PROGRAM = """
import os
os.close(0)
from afield._portal import get_portal
async def work(): return 7
assert get_portal().run(work) == 7
print(os.readlink("/proc/self/fd/0"))
"""


def test_a_portal_closes_well_without_standard_input() -> None:
    """The loop's own files do not get the numbers of the missing streams."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60)

    assert (done.returncode, done.stdout, done.stderr) == (0, "/dev/null\n", "")
