"""Lets a test set the clock of all Python processes of a platform, while they run.

Python imports this at its start when the folder is on its path. `AFIELD_CHAOS_CLOCK` names a file that holds an offset in
seconds (a double); `time.time()` is that far off. Containers inherit it. nats-server has the true time.
"""

import mmap
import os
import struct
import time

_path = os.environ.get("AFIELD_CHAOS_CLOCK", "")

if _path:
    with open(_path, "rb") as _file:
        _map = mmap.mmap(_file.fileno(), 8, access=mmap.ACCESS_READ)
    _true_time, _true_time_ns, _unpack = time.time, time.time_ns, struct.Struct("=d").unpack_from

    def _time() -> float:
        offset: float = _unpack(_map)[0]
        return _true_time() + offset

    def _time_ns() -> int:
        return _true_time_ns() + int(_unpack(_map)[0] * 1e9)

    time.time = _time
    time.time_ns = _time_ns
