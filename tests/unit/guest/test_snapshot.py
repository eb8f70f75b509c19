"""afield._guest.snapshot: what a fork would break. Each case is a process of its own."""

import subprocess
import sys

import pytest

JOINED = """
import threading
for _ in range(50):
    thread = threading.Thread(target=abs, args=(1,))
    thread.start()
    thread.join()
"""

# A native pool that ends before a fork and is not there behind it, as OpenBLAS's.
POOL = """
import os, threading, _thread
over = threading.Event()
_thread.start_new_thread(over.wait, ())
os.register_at_fork(before=over.set)
"""

THREAD = """
import threading
threading.Thread(target=threading.Event().wait, name='pump', daemon=True).start()
"""

NATIVE = "import _thread, time\n_thread.start_new_thread(time.sleep, (1000,))"

CHILD = """
import atexit, subprocess
child = subprocess.Popen(['sleep', '1000'])
atexit.register(child.kill)
"""

TORCH = """
import sys, types
sys.modules['torch'] = torch = types.ModuleType('torch')
torch.cuda = types.SimpleNamespace(is_initialized=lambda: True)
"""

DEVICE = """
import os
readlink, held = os.readlink, open('/dev/null')
os.readlink = lambda path: readlink(path).replace('/dev/null', '/dev/nvidia0')
"""


def obstacle_after(code: str) -> str:
    """Return what is in the way of a fork in a process that has run `code`."""
    program = f"{code}\nfrom afield._guest import snapshot\nprint(snapshot.find_obstacle())\n"
    command = [sys.executable, "-c", program]
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=30, stdin=subprocess.PIPE
    )
    return done.stdout.strip()


@pytest.mark.parametrize(
    "code", ["", JOINED, "import subprocess\nsubprocess.run(['true'])", "import sys\nsys.modules['torch'] = None", POOL]
)  # fmt: skip
def test_what_can_be_forked(code: str) -> None:
    """No threads, no children, no device: nothing is in the way."""
    assert obstacle_after(code) == ""


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (THREAD, "threads are running after enter(snap=True) (pump)"),
        (NATIVE, "threads are running"),
        (CHILD, "child processes are there"),
        (TORCH, "CUDA is initialised"),
        (DEVICE, "CUDA is initialised"),
    ],
)
def test_what_cannot_be_forked(code: str, said: str) -> None:
    """The clause says what is in the way."""
    assert said in obstacle_after(code)
