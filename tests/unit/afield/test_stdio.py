"""Processes without standard streams, and streams with a small alphabet."""

import io
import subprocess
import sys

import pytest

from afield._stdio import write_replaced

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


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [("ascii", r"gr\xfcn \u2192"), ("latin-1", r"grün \u2192"), ("utf-8", "grün →")],
)
def test_characters_that_a_stream_does_not_have_become_escapes(encoding: str, shown: str) -> None:
    """All others stay as they are."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)

    write_replaced(stream, "grün →")

    stream.seek(0)
    assert stream.read() == shown
