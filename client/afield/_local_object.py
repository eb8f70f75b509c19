"""LocalObject: an instance of a user's class on this side, for `.local()` and for attributes."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

from afield._class_hooks import Hook, Hooks, Method, construct, is_async
from afield.exception import InvalidError


class LocalObject:
    """Made when it is first needed; its `enter` hooks run before its first call. `exit` hooks are for containers."""

    def __init__(
        self,
        user_cls: type,
        hooks: Hooks,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        on_made: Callable[[Any], None],
    ) -> None:
        self._user_cls = user_cls
        self._hooks = hooks
        self._args = args
        self._kwargs = kwargs
        self._on_made = on_made
        self._made: list[Any] = []
        """The instance, once there is one (which may be false, or equal to anything)."""
        self._entered = False
        self._lock = threading.RLock()
        self._turn = asyncio.Lock()

    @property
    def instance(self) -> Any:
        """The instance; not entered, unless there was a call."""
        with self._lock:
            if not self._made:
                made = construct(self._user_cls, self._args, self._kwargs)
                self._on_made(made)
                self._made.append(made)
            return self._made[0]

    def call(self, method: Method, /, *args: Any, **kwargs: Any) -> Any:
        """Call a method as it was written: a coroutine or a generator comes back as one."""
        instance = self.instance
        hooks = (*self._hooks.enter_snap, *self._hooks.enter)
        if not self._entered and method.is_async and any(map(is_async, hooks)):
            call = self._iterate if method.is_generator else self._await
            return call(method, hooks, args, kwargs)
        self._enter(hooks, instance)
        return method.raw(instance, *args, **kwargs)

    async def _await(
        self, method: Method, hooks: tuple[Hook, ...], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        await self._enter_async(hooks)
        return await method.raw(self.instance, *args, **kwargs)

    async def _iterate(
        self, method: Method, hooks: tuple[Hook, ...], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> AsyncGenerator[Any, None]:
        await self._enter_async(hooks)
        async with aclosing(method.raw(self.instance, *args, **kwargs)) as values:
            async for value in values:
                yield value

    def _enter(self, hooks: tuple[Hook, ...], instance: Any) -> None:
        with self._lock:
            if self._entered:
                return
            for hook in hooks:
                if is_async(hook):
                    _run_async(hook, instance, self._user_cls.__name__)
                else:
                    hook(instance)
            self._entered = True

    async def _enter_async(self, hooks: tuple[Hook, ...]) -> None:
        async with self._turn:
            if self._entered:
                return
            for hook in hooks:
                result = hook(self.instance)
                if is_async(hook):
                    await result
            self._entered = True


def _run_async(hook: Hook, instance: Any, class_name: str) -> None:
    if asyncio._get_running_loop() is not None:
        raise InvalidError(
            f"{class_name} has an asynchronous enter hook ({hook.__name__}), which a plain method called with .local() "
            f"cannot wait for inside of an event loop: call it in a thread, or make the method asynchronous"
        )
    asyncio.run(hook(instance))
