"""AppRun: what `app.run()` returns, for `with` and for `async with`."""

from contextlib import AbstractAsyncContextManager, AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Final

from afield._context import is_remote
from afield._portal import get_portal
from afield._running import run_app
from afield._stdio import open_standard_streams
from afield._sync import warn_if_in_loop
from afield._trim import trimmed, trimmed_async
from afield.exception import InvalidError

if TYPE_CHECKING:
    from afield.app import App


class AppRun:
    """What `app.run()` returns: a context manager, for `with` and for `async with`, that gives the app."""

    def __init__(self, app: "App", *, name: str | None, detach: bool, environment_name: str | None) -> None:
        self._app = app
        self._name = name
        self._detach = detach
        self._environment_name = environment_name
        self._blocking: AbstractContextManager[App] | None = None
        self._asynchronous: AbstractAsyncContextManager[App] | None = None

    def _open(self) -> AbstractAsyncContextManager["App"]:
        if is_remote():
            raise InvalidError(
                "app.run() was called in a container, where the app runs already: keep it under "
                "`if __name__ == '__main__':` or in a local entrypoint"
            )
        if self._app._running is not None or self._app in _starting:
            raise InvalidError(f"{self._app!r} runs already: one run of an app at a time")
        open_standard_streams()
        return run_app(
            self._app, name=self._name, detach=self._detach, environment_name=self._environment_name
        )

    @trimmed
    def __enter__(self) -> "App":
        """Start the app."""
        warn_if_in_loop("`with app.run()`", "async with app.run()")
        manager = self._open()
        self._blocking = get_portal().enter(manager)
        _starting.add(self._app)
        try:
            return self._blocking.__enter__()
        finally:
            _starting.discard(self._app)

    @trimmed
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the app. What the block raised goes on as it is: it is none of the run's business."""
        blocking, self._blocking = self._blocking, None
        assert blocking is not None
        blocking.__exit__(None, None, None)

    @trimmed_async
    async def __aenter__(self) -> "App":
        """Start the app."""
        self._asynchronous = self._open()
        _starting.add(self._app)
        try:
            return await self._asynchronous.__aenter__()
        finally:
            _starting.discard(self._app)

    @trimmed_async
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the app. What the block raised goes on as it is."""
        asynchronous, self._asynchronous = self._asynchronous, None
        assert asynchronous is not None
        await asynchronous.__aexit__(None, None, None)


_starting: Final[set["App"]] = set()
"""Apps whose run is being started, which takes a while and must not be done twice."""
