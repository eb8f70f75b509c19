"""Where the inputs of a map come from: the user's iterators, consumed only as far as asked.

A plain iterator is consumed in a thread of its own, because its `next` may block; an asynchronous one on the loop that
it belongs to. Inputs are serialised there, and cross to the map's loop in chunks: whatever has come together by the
time that loop takes it, so an input never waits for the one after it. The consumer of chunks says when it is done with
one (`done`); beyond CHUNK_BYTES that it is not done with, nothing more is consumed.
"""

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import Any, Final, NamedTuple, Protocol

from afield._wire.streams import INLINE_LIMIT
from afield.exception import InvalidError
from afield.serialization import Serialized, dumps_call

CHUNK_BYTES: Final = 16 * 2**20
CHUNK_ITEMS: Final = 256
"""After so many inputs without a wait, an asynchronous iterator gives way to other tasks."""

Arguments = tuple[tuple[Any, ...], dict[str, Any]]


class Chunk(NamedTuple):
    """Some inputs, serialised: joined already if they may travel inline. With `ended`, the last ones."""

    payloads: list[bytes | Serialized]
    ended: bool = False
    error: Exception | None = None
    """What the user's iterator raised, or what kept an input from being serialised."""

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(map(_size, self.payloads))


class Feed(Protocol):
    """A source of inputs. `want` and `close` are called on the map's loop, chunks arrive there."""

    def start(self, loop: asyncio.AbstractEventLoop, on_chunk: Callable[[Chunk], None]) -> None:
        """Get ready; nothing is consumed before it is wanted."""

    def want(self, count: int) -> None:
        """So many more inputs are welcome."""

    def done(self, size: int) -> None:
        """So many bytes that were handed over need no memory any more."""

    def close(self) -> None:
        """Consume no more, and close the iterator if it can be."""


def make_feed(
    iterables: tuple[Any, ...],
    kwargs: dict[str, Any],
    *,
    star: bool,
    home: asyncio.AbstractEventLoop | None,
) -> Feed:
    """Return the feed of `.map(*iterables, kwargs=kwargs)`, or of `.starmap` with `star`.

    `home` is the loop that asynchronous iterators belong to; None stands for the map's own loop.
    Raises InvalidError for what is no iterable.
    """
    if not iterables:
        raise InvalidError("a map needs at least one iterable of inputs")
    for each in iterables:
        if not isinstance(each, (Iterable, AsyncIterable)) and not hasattr(each, "__getitem__"):
            raise InvalidError(
                f"expected an iterable or an asynchronous iterable of inputs, got {type(each).__name__}"
            )
    if any(isinstance(each, AsyncIterable) for each in iterables):
        return AsyncFeed(_arguments_async(iterables, kwargs, star), home)
    return ThreadFeed(_arguments(iterables, kwargs, star))


def _arguments(
    iterables: tuple[Iterable[Any], ...], kwargs: dict[str, Any], star: bool
) -> Iterator[Arguments]:
    if star:
        return ((_starred(each), kwargs) for each in iterables[0])
    return ((args, kwargs) for args in zip(*iterables, strict=False))


async def _arguments_async(
    iterables: tuple[Iterable[Any] | AsyncIterable[Any], ...], kwargs: dict[str, Any], star: bool
) -> AsyncIterator[Arguments]:
    iterators = [aiter(each) if isinstance(each, AsyncIterable) else iter(each) for each in iterables]
    while True:
        args = []
        for iterator in iterators:
            try:
                args.append(await anext(iterator) if isinstance(iterator, AsyncIterator) else next(iterator))
            except (StopIteration, StopAsyncIteration):
                return
        yield (_starred(args[0]), kwargs) if star else (tuple(args), kwargs)


def _starred(item: Any) -> tuple[Any, ...]:
    try:
        return tuple(item)
    except TypeError:
        raise InvalidError(
            f"starmap expects a sequence of arguments for each input, got {type(item).__name__}; map takes single values"
        ) from None


def _encode(arguments: Arguments) -> bytes | Serialized:
    data = dumps_call(*arguments)
    return data if data.size > INLINE_LIMIT else data.join()


class ThreadFeed:
    """Consumes a plain iterator in a daemon thread: one that blocks for ever must not keep the process alive."""

    def __init__(self, arguments: Iterator[Arguments]) -> None:
        self._arguments = arguments
        self._changed = threading.Condition()
        self._wanted = 0
        self._bytes = 0
        self._closed = False
        self._made: list[bytes | Serialized] = []
        self._told = False

    def start(self, loop: asyncio.AbstractEventLoop, on_chunk: Callable[[Chunk], None]) -> None:
        """See Feed."""
        self._loop = loop
        self._on_chunk = on_chunk
        context = contextvars.copy_context()
        threading.Thread(target=context.run, args=(self._run,), name="afield-inputs", daemon=True).start()

    def want(self, count: int) -> None:
        """See Feed."""
        with self._changed:
            self._wanted += count
            self._changed.notify()

    def done(self, size: int) -> None:
        """See Feed."""
        with self._changed:
            self._bytes -= size
            self._changed.notify()

    def close(self) -> None:
        """See Feed. Returns at once; an iterator that blocks is left when it comes back."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _run(self) -> None:
        try:
            while self._may_go_on():
                arguments = next(self._arguments, None)
                if arguments is None:
                    self._tell(Chunk([], ended=True))
                    return
                self._hand_over(_encode(arguments))
        except Exception as error:
            self._tell(Chunk([], ended=True, error=error))
        except BaseException as error:  # this thread has nobody to raise it to; the consumer has
            self._tell(Chunk([], ended=True, error=_as_exception(error)))
        finally:
            _close_all(self._arguments)

    def _may_go_on(self) -> bool:
        if self._wanted > 0 and self._bytes < CHUNK_BYTES and not self._closed:
            return True
        with self._changed:
            self._changed.wait_for(lambda: self._closed or (self._wanted > 0 and self._bytes < CHUNK_BYTES))
        return not self._closed

    def _hand_over(self, payload: bytes | Serialized) -> None:
        with self._changed:
            self._wanted -= 1
            self._bytes += _size(payload)
            self._made.append(payload)
            if self._told:
                return
            self._told = True
        self._on_loop(self._drain)

    def _drain(self) -> None:
        with self._changed:
            made, self._made = self._made, []
            self._told = False
        if made:
            self._on_chunk(Chunk(made))

    def _tell(self, chunk: Chunk) -> None:
        self._on_loop(self._drain)
        self._on_loop(self._on_chunk, chunk)

    def _on_loop(self, function: Callable[..., None], *args: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *args)
        except RuntimeError:  # the loop was closed: nobody is left to take it
            self._closed = True


class AsyncFeed:
    """Consumes an asynchronous iterator on the loop that it belongs to."""

    def __init__(self, arguments: AsyncIterator[Arguments], home: asyncio.AbstractEventLoop | None) -> None:
        self._arguments = arguments
        self._home = home
        self._wanted = 0
        self._bytes = 0
        self._made: list[bytes | Serialized] = []
        self._run_future: Future[None] | None = None

    def start(self, loop: asyncio.AbstractEventLoop, on_chunk: Callable[[Chunk], None]) -> None:
        """See Feed."""
        self._loop = loop
        self._on_chunk = on_chunk
        self._runs_on = self._home or loop
        self._changed = asyncio.Event()
        # The iterator's loop may be another one. What comes of the task is told in chunks; `close` cancels it.
        self._run_future = asyncio.run_coroutine_threadsafe(self._run(), self._runs_on)

    def want(self, count: int) -> None:
        """See Feed."""
        self._at_home(self._order, count, 0)

    def done(self, size: int) -> None:
        """See Feed."""
        self._at_home(self._order, 0, size)

    def close(self) -> None:
        """See Feed."""
        if self._run_future is not None:
            self._run_future.cancel()

    def _at_home(self, function: Callable[..., None], *args: Any) -> None:
        if self._runs_on is self._loop:
            function(*args)
            return
        try:
            self._runs_on.call_soon_threadsafe(function, *args)
        except RuntimeError as error:  # the iterator's loop is closed
            self._on_chunk(Chunk([], ended=True, error=error))

    def _order(self, count: int, size: int) -> None:
        self._wanted += count
        self._bytes -= size
        self._changed.set()

    async def _run(self) -> None:
        last = Chunk([], ended=True)
        try:
            while True:
                while self._wanted <= 0 or self._bytes >= CHUNK_BYTES:
                    self._changed.clear()
                    await self._changed.wait()
                self._hand_over(_encode(await anext(self._arguments)))
                if len(self._made) >= CHUNK_ITEMS:
                    await asyncio.sleep(0)
        except StopAsyncIteration:
            pass
        except Exception as error:
            last = Chunk([], ended=True, error=error)
        finally:
            close = getattr(self._arguments, "aclose", None)
            if close is not None:
                await close()
        self._drain()
        self._send(last)

    def _hand_over(self, payload: bytes | Serialized) -> None:
        if not self._made:
            # Runs as soon as the iterator really waits: until then, this task does not give way.
            self._runs_on.call_soon(self._drain)
        self._made.append(payload)
        self._wanted -= 1
        self._bytes += _size(payload)

    def _drain(self) -> None:
        made, self._made = self._made, []
        if made:
            self._send(Chunk(made))

    def _send(self, chunk: Chunk) -> None:
        if self._runs_on is self._loop:
            self._on_chunk(chunk)
            return
        try:
            self._loop.call_soon_threadsafe(self._on_chunk, chunk)
        except RuntimeError:  # the map's loop is closed: nobody is left to take it
            self.close()


def _size(payload: bytes | Serialized) -> int:
    return len(payload) if isinstance(payload, bytes) else payload.size


def _close_all(iterator: Any) -> None:
    close = getattr(iterator, "close", None)
    if close is not None:
        close()


def _as_exception(error: BaseException) -> Exception:
    made = RuntimeError(f"the iterator of inputs raised {type(error).__name__}: {error}")
    made.__cause__ = error
    return made
