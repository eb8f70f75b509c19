"""What a container serves: a function, or an instance of a class with its hooks."""

import asyncio
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import MethodType
from typing import Any, Final, NamedTuple

from afield import _class_hooks, _frames, serialization
from afield._class_hooks import Hook, Hooks
from afield._guest.endings import exit_status
from afield._guest.loader import Loaded
from afield._guest.targets import Target, Targets
from afield._guest.userloop import UserLoop
from afield._wire.guest import Start
from afield.cls import adopt
from afield.exception import InputCancellation

LEAST_S: Final = 1.0
"""Seconds that an exit hook gets when those before it have used up the time of all."""


class Instance(NamedTuple):
    """A function or an instance, made once, and called for every input."""

    targets: Targets
    loop: UserLoop | None
    """Where its code runs; None if all of it is synchronous."""
    hooks: Hooks | None = None
    """None for a function."""
    itself: Any = None
    """The instance of the user's class."""

    def unfit_for_forks(self) -> str:
        """Let go of what a fork would break; return what cannot be let go of, as a clause, or nothing."""
        if self.loop is None:
            return ""
        tasks = self.loop.tasks()
        if tasks:
            return f"tasks run on the event loop after enter(snap=True) ({', '.join(tasks)})"
        self.loop.close()
        return ""


def construct(start: Start, loaded: Loaded) -> Instance:
    """Return what the container serves. Raises what the constructor of a user's class raises."""
    record = start.function
    loop = UserLoop() if loaded.is_async else None
    if not record.spec.is_class:
        target = Target(loaded.raw, loaded.is_generator, loaded.is_async)
        return Instance(Targets(record.spec.name, {"": target}), loop)
    user_cls: Any = loaded.raw
    args, kwargs = serialization.loads_call(record.params) if record.params else ((), {})
    itself = _call(loop, lambda: _class_hooks.construct(user_cls, args, kwargs))
    adopt(itself, record)
    hooks = _class_hooks.find_hooks(user_cls)
    targets = {
        name: Target(MethodType(method.raw, itself), method.is_generator, method.is_async)
        for name, method in hooks.methods.items()
    }
    return Instance(Targets(record.spec.name, targets), loop, hooks, itself)


def enter(instance: Instance, *, snap: bool) -> None:
    """Run the hooks of the start: those that a snapshot holds, or the others. Raises what the first failing one raises."""
    if instance.hooks is not None:
        for hook in instance.hooks.enter_snap if snap else instance.hooks.enter:
            _run(instance, hook)


def exit(instance: Instance, grace: float) -> None:  # noqa: A001 - as its hooks are called
    """Run the hooks of the end, each even if another fails; what they raise goes to the log. For the main thread.

    After `grace` seconds the hook that runs is interrupted, and those behind it get LEAST_S each.
    """
    if instance.hooks is None:
        return
    deadline = time.monotonic() + grace
    for hook in instance.hooks.exit:
        try:
            _run_within(instance, hook, max(LEAST_S, deadline - time.monotonic()))
        except SystemExit as error:
            exit_status(error)  # it prints a message, if the user gave one
        except BaseException as error:
            _report(hook, error)


def _run(instance: Instance, hook: Hook) -> None:
    if _class_hooks.is_async(hook):
        _loop_of(instance).run(hook(instance.itself))
    else:
        _call(instance.loop, lambda: hook(instance.itself))


def _run_within(instance: Instance, hook: Hook, seconds: float) -> None:
    if _class_hooks.is_async(hook):
        _loop_of(instance).run(asyncio.wait_for(hook(instance.itself), seconds))
    else:
        with _alarm(seconds):
            _call(instance.loop, lambda: hook(instance.itself))


def _loop_of(instance: Instance) -> UserLoop:
    assert instance.loop is not None  # any hook that is asynchronous gives it one
    return instance.loop


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Interrupt what runs after so many seconds, system calls included."""
    armed = True

    def ring(*_: object) -> None:
        if armed:
            raise InputCancellation(f"it had {seconds:.3g} s to end")

    main = threading.get_ident()
    signal.signal(signal.SIGUSR1, ring)
    timer = threading.Timer(seconds, signal.pthread_kill, (main, signal.SIGUSR1))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        armed = False
        timer.cancel()
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)


def _call(loop: UserLoop | None, function: Callable[[], Any]) -> Any:
    return function() if loop is None else loop.call(function)


def _report(hook: Hook, error: BaseException) -> None:
    name = getattr(hook, "__qualname__", repr(hook))
    try:
        print(f"afield: the exit hook {name} failed:", file=sys.stderr)
        traceback.print_exception(type(error), error, _frames.strip(error.__traceback__))
    except (OSError, ValueError, AttributeError):
        pass  # user code closed the stream
