"""POST /v1/apps/{app}/functions/{function}/call: JSON in, one call of a function, JSON out."""

import json
import math
from typing import Any, Final, NamedTuple, NoReturn, Protocol

import anyio
import anyio.to_thread
from pydantic import ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from afield._wire.functions import FunctionRecord
from afield._wire.messages import ErrorInfo
from afield._wire.streams import INLINE_LIMIT
from afield.serialization import Buffer
from afield_gateway import problems, results
from afield_gateway.problems import Problem
from afield_gateway.schemas import CallRequest

CLIENT_CLOSED: Final = 499
"""Status, for the metrics only, of a request whose caller went away: nobody reads the answer."""


class Outcome(NamedTuple):
    """How a call ended: in a serialised value, or in an error."""

    call_id: str
    value: Buffer | None
    error: ErrorInfo | None


class Backend(Protocol):
    """The platform, as far as this endpoint needs it."""

    async def resolve(self, app: str, function: str) -> FunctionRecord:
        """Return the record of a function by the names or ids of it and its app. Raises Problem (404)."""
        ...

    async def call(self, record: FunctionRecord, args: list[Any], kwargs: dict[str, Any]) -> Outcome:
        """Call a function and wait for its end; a cancellation cancels the call. Raises Problem."""
        ...


class CallEndpoint:
    """The endpoint, on one backend."""

    def __init__(self, backend: Backend, *, max_body: int, timeout: float) -> None:
        self._backend = backend
        self._max_body = max_body
        self._timeout = timeout

    async def call(self, request: Request) -> Response:
        """Answer one request."""
        timeout = self._timeout_of(request)
        arguments = parse(await self._read(request))
        record = await self._backend.resolve(request.path_params["app"], request.path_params["function"])
        if record.spec.is_class:
            _refuse_class(record)
        if record.spec.is_generator:
            _refuse_generator(record)
        outcome = await self._run(request, record, arguments, timeout)
        if outcome is None:
            return Response(status_code=CLIENT_CLOSED)
        return await answer(outcome)

    async def _run(
        self, request: Request, record: FunctionRecord, arguments: CallRequest, timeout: float
    ) -> Outcome | None:
        """Call, and give up when the time is over (Problem) or the caller has gone (None)."""
        ended: Outcome | Problem | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_until_disconnected, request, tasks.cancel_scope)
            with anyio.move_on_after(timeout) as clock:
                try:
                    ended = await self._backend.call(record, arguments.args, arguments.kwargs)
                except Problem as problem:
                    ended = problem
            tasks.cancel_scope.cancel()
        if clock.cancelled_caught:
            ended = _too_late(record, timeout)
        if isinstance(ended, Problem):
            raise ended
        return ended

    async def _read(self, request: Request) -> bytes:
        _check_type(request.headers.get("content-type", ""))
        declared = request.headers.get("content-length", "0")
        if declared.isdecimal() and int(declared) > self._max_body:
            self._refuse_size(int(declared))
        body = bytearray()
        try:
            async for part in request.stream():
                body += part
                if len(body) > self._max_body:
                    self._refuse_size(len(body))
        except ClientDisconnect:
            raise Problem(
                400, "invalid-body", "The body ended early", "the connection closed in the body"
            ) from None
        return bytes(body)

    def _refuse_size(self, size: int) -> NoReturn:
        raise Problem(
            413,
            "too-large",
            "The body is too large",
            f"expected at most {self._max_body:,} bytes of body, got {size:,} or more; "
            "pass a reference to large data, or call the function from Python",
            headers={"Connection": "close"},
        )

    def _timeout_of(self, request: Request) -> float:
        text = request.query_params.get("timeout")
        if text is None:
            return self._timeout
        try:
            seconds = float(text)
        except ValueError:
            seconds = math.nan
        if not 0 < seconds < math.inf:
            raise Problem(
                400,
                "invalid-timeout",
                "Invalid timeout",
                f"expected ?timeout= in seconds above 0, got {text!r}",
            )
        return min(seconds, self._timeout)


def parse(body: bytes) -> CallRequest:
    """Return the arguments that a body holds; an empty body means none. Raises Problem (400)."""
    if not body.strip():
        return CallRequest()
    try:
        value = json.loads(body, parse_constant=_refuse_constant)
        return CallRequest.model_validate(value, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the body"
        detail = f'expected {{"args": [...], "kwargs": {{...}}}}; {where}: {first["msg"]}'
    except (ValueError, RecursionError) as error:
        detail = f"expected JSON, got something else: {error}"
    raise Problem(400, "invalid-body", "The body is not what was expected", detail)


async def answer(outcome: Outcome) -> Response:
    """Return the HTTP response for an ended call. Raises Problem when it did not end in a JSON value."""
    if outcome.error is not None:
        raise problems.from_error(outcome.error, outcome.call_id)
    try:
        body = await _to_json(outcome.value)
    except results.NotJsonError as error:
        raise Problem(
            500, "result-not-json", "The result has no JSON form", str(error), instance=outcome.call_id
        ) from error
    return Response(body, media_type="application/json", headers={"Afield-Call-Id": outcome.call_id})


async def _to_json(value: Buffer | None) -> bytes:
    if value is None:
        return results.encode(None)
    if len(value) <= INLINE_LIMIT:
        return results.to_json(value)
    return await anyio.to_thread.run_sync(results.to_json, value)  # other requests go on meanwhile


def _check_type(content_type: str) -> None:
    kind = content_type.partition(";")[0].strip().lower()
    if kind and kind != "application/json" and not kind.endswith("+json"):
        raise Problem(
            415,
            "unsupported-type",
            "The body is not JSON",
            f"expected Content-Type: application/json, got {kind!r}",
        )


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


def _refuse_class(record: FunctionRecord) -> NoReturn:
    raise Problem(
        422,
        "class",
        "The function is a class",
        f"{record.spec.name!r} is a class, and this endpoint calls functions; "
        "wrap the method in a function, or call it from Python with afield.Cls.from_name()",
    )


def _refuse_generator(record: FunctionRecord) -> NoReturn:
    raise Problem(
        422,
        "generator",
        "The function is a generator",
        f"{record.spec.name!r} yields values, and this endpoint answers with one; "
        "wrap it in a function that returns a list, or call it from Python with remote_gen()",
    )


def _too_late(record: FunctionRecord, timeout: float) -> Problem:
    return Problem(
        504,
        "call-timeout",
        "The call took too long",
        f"{record.spec.name!r} gave no result within {timeout:g} s, and the call was cancelled",
    )


async def _until_disconnected(request: Request, scope: anyio.CancelScope) -> None:
    """Cancel the scope when the caller closes the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    scope.cancel()
