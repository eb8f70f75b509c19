"""Snapshots: a container whose class has run `enter(snap=True)` becomes a template, and containers fork from there.

It serves as the ordinary template does (`template.py`), and owns its containers in the same way. What a fork would
break is looked for first: threads do not survive it, a GPU's driver does not work behind it, and child processes
would have several parents. Then the container goes on as what it is, and its user is told why.
"""

import gc
import os
import select
import signal
import sys
import threading
import time
import warnings
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final, NoReturn

from afield._guest import isolation, processes
from afield._guest.control import ControlSocket
from afield._guest.link import Link
from afield._guest.streams import Streams
from afield._guest.template import Newborn, Template
from afield._wire.guest import Fork, Forked, Notice, Start

_SIGNALS: Final = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT)
"""That the template has handlers of its own for, and user code may have had."""

_THREAD_PATIENCE: Final = 0.5
"""Seconds in which a thread that has returned must be gone."""

_PROBE_PATIENCE: Final = 2.0
"""Seconds in which a child that only exits must have exited."""


def take(
    newborn: Newborn, link: Link, streams: Streams, start: Start, obstacle: str = ""
) -> tuple[Newborn, Link, Start]:
    """Become a template, and return in each container that it forks: the first is the one that this was.

    `obstacle`: why a fork is not safe, if that is known already; else it is found out.
    Where a fork is not safe, the worker is told, and this returns at once what it was given.
    Raises LinkClosedError when the worker is gone.
    """
    try:
        control = ControlSocket(newborn.control)
    except OSError as error:  # user code closed it
        why = f"its control socket is closed ({error.strerror})"
    else:
        why = obstacle or find_obstacle()
        if not why:
            return _serve(control, newborn, link, streams, start)
        control.send(Forked(container_id=start.container_id, pid=0, error=why))
        control.close()
    name = start.function.spec.name
    link.send(Notice(text=f"No memory snapshot of {name} is taken: {why}. Its containers start without one."))
    return newborn, link, start


def find_obstacle() -> str:
    """Return why this process cannot be forked safely, as a clause; empty if it can."""
    threads = _threads()
    if threads:
        return f"threads are running after enter(snap=True) ({', '.join(threads)}), which a fork would lose"
    if _uses_cuda():
        return "CUDA is initialised after enter(snap=True), which a fork would break; do that in enter(snap=False)"
    children = processes.children(os.getpid())
    if children:
        return f"child processes are there after enter(snap=True) ({', '.join(map(str, children))})"
    return ""


def _serve(
    control: ControlSocket, newborn: Newborn, link: Link, streams: Streams, start: Start
) -> tuple[Newborn, Link, Start]:
    """Fork containers until the worker says no more; does not return here then, only in them."""
    streams.settle()
    descriptors = [link.duplicate(), os.dup(1), os.dup(2)]
    handlers = {signum: signal.getsignal(signum) for signum in _SIGNALS}
    template = Template(control)
    # Not SIGKILL, as for the first template: so it can take along what its containers started.
    processes.die_with(newborn.parent, signal.SIGTERM)
    processes.set_name("afield-snapshot")
    gc.collect()
    gc.freeze()
    first = Fork(container_id=start.container_id, env=newborn.fork.env)
    child = template.fork(first, descriptors)
    if child is None:
        link.close()
        _let_go_of_output(streams)
        child = template.serve()
    if child is None:
        _end(template)
    template.abandon()
    for signum, handler in handlers.items():
        if handler is not None:  # else it is not of Python's making
            signal.signal(signum, handler)
    ours = isolation.isolate_again(child, streams)
    if child.fork is first:
        ours.inherit(link)
        child = child._replace(forked_at=newborn.forked_at)
    told = receive_start(ours)
    _move_in(told.home, newborn.fork.snapshot_home)
    return child, ours, replace(told, home=newborn.fork.snapshot_home)


def receive_start(link: Link) -> Start:
    """Wait for Start; what else has come is left on the link. Raises LinkClosedError when the worker is gone."""
    others: list[Any] = []
    while True:
        frames = link.receive()
        for number, frame in enumerate(frames):
            if isinstance(frame, Start):
                link.push_back([*others, *frames[number + 1 :]])
                return frame
            others.append(frame)


def _end(template: Template) -> NoReturn:
    """Take the containers along. No exit hook is run: those are of containers."""
    template.end()
    os._exit(0)


def _let_go_of_output(streams: Streams) -> None:
    """The first container has its own copies of its output."""
    streams.let_go()
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for fd in (1, 2):
        os.dup2(null, fd)
    os.close(null)


def _move_in(home: str, snapshot_home: str) -> None:
    """Have this container work in a folder of its own, in which it finds what the snapshot has left in its."""
    for name in os.listdir(snapshot_home):
        if name == "__pycache__":
            continue  # shared, it would give one container what another one has compiled from a file of the same name
        with suppress(FileExistsError):
            os.symlink(os.path.join(snapshot_home, name), os.path.join(home, name))
    os.chdir(home)
    # Behind the snapshot's, so that the modules that are loaded and those to come are from one folder.
    sys.path.insert(sys.path.index(snapshot_home) + 1 if snapshot_home in sys.path else 0, home)
    sys.argv[:1] = [argument.replace(snapshot_home, home, 1) for argument in sys.argv[:1]]


def _threads() -> list[str]:
    """Return the names of the threads that run beside this one."""
    others = [thread.name for thread in threading.enumerate() if thread is not threading.current_thread()]
    if others or not _other_tasks():
        return others
    # Native ones. The pools of some libraries (OpenBLAS) end before a fork, and come back when they are needed.
    _probe_fork()
    deadline = time.monotonic() + _THREAD_PATIENCE
    while (tasks := _other_tasks()) and time.monotonic() < deadline:
        time.sleep(0.005)  # a thread that was joined is not gone at once, and nothing tells when it is
    return tasks


def _other_tasks() -> list[str]:
    names = []
    for task in os.listdir("/proc/self/task"):
        if int(task) == threading.get_native_id():
            continue
        with suppress(FileNotFoundError), open(f"/proc/self/task/{task}/comm") as file:
            names.append(file.read().strip())
    return names


def _probe_fork() -> None:
    """Fork a child that only exits: libraries see that a fork comes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks with threads
        pid = os.fork()
    if pid == 0:
        os._exit(0)
    waiter = os.pidfd_open(pid)
    poller = select.poll()
    poller.register(waiter, select.POLLIN)
    if not poller.poll(_PROBE_PATIENCE * 1000):
        os.kill(pid, signal.SIGKILL)
    os.close(waiter)
    os.waitpid(pid, 0)


def _uses_cuda() -> bool:
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    if cuda is not None and cuda.is_initialized():
        return True
    for fd in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # the one with which the folder is listed
            if os.readlink(f"/proc/self/fd/{fd}").startswith("/dev/nvidia"):
                return True
    return False
