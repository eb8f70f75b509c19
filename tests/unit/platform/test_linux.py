"""What a child asks of the kernel before it becomes another program."""

import subprocess
import sys
from functools import partial

from afield_platform.linux import set_timer_slack

READ = "print(open('/proc/self/timerslack_ns').read())"


def test_timers_of_a_child_may_be_late() -> None:
    """The slack survives the start of another program, and is in nanoseconds there."""
    late = partial(set_timer_slack, 0.01)
    child = subprocess.run([sys.executable, "-c", READ], stdout=-1, check=True, preexec_fn=late)

    assert int(child.stdout) == 10_000_000
