"""The event loop on which a container runs asynchronous code: its hooks first, then its inputs, then its hooks again."""

import asyncio
import contextvars
import importlib.util
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

T = TypeVar("T")

END_PATIENCE: Final = 5.0
"""Seconds that tasks which user code left running get to clean up when the container ends."""


class UserLoop:
    """A loop that is made when it is first used, and the context in which all that it runs begins.

    So what a hook sets in a context variable is there in the methods.
    """

    def __init__(self) -> None:
        self._context = contextvars.copy_context()
        self._loop: asyncio.AbstractEventLoop | None = None

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end. What ends the process (SystemExit of any task, too) comes out of here."""
        if self._loop is None:
            self._loop = _new_event_loop()
            asyncio.set_event_loop(self._loop)
        task = self._loop.create_task(work, context=self._context)  # awaited right here
        return self._loop.run_until_complete(task)

    def call(self, function: Callable[[], T]) -> T:
        """Call a synchronous function in the context, outside of the loop."""
        return self._context.run(function)

    def tasks(self) -> list[str]:
        """Return what runs in the loop now that nobody runs the loop: names of tasks."""
        return [task.get_name() for task in asyncio.all_tasks(self._loop)] if self._loop else []

    def end(self) -> None:
        """Let what user code left behind clean up."""
        if self._loop is not None:
            self.run(_end_leftovers())

    def close(self) -> None:
        """Close the loop, with its threads; it is made anew when it is used again."""
        if self._loop is None:
            return
        self.end()
        self.run(self._loop.shutdown_default_executor())
        self._loop.close()
        self._loop = None
        asyncio.set_event_loop(None)


async def _end_leftovers() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=END_PATIENCE)
    await asyncio.get_running_loop().shutdown_asyncgens()


def _new_event_loop() -> asyncio.AbstractEventLoop:
    if importlib.util.find_spec("uvloop"):
        import uvloop

        return uvloop.new_event_loop()
    return asyncio.new_event_loop()
