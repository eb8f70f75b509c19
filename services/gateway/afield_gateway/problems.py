"""Errors as problem documents (RFC 9457). The caller's fault is a 4xx, a function's or the platform's a 5xx."""

from http import HTTPStatus
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from afield._wire.messages import ErrorInfo, ErrorKind
from afield_gateway.schemas import ProblemBody

MEDIA_TYPE: Final = "application/problem+json"


class Problem(Exception):  # noqa: N818 - the word of RFC 9457
    """Raised to answer a request with a problem document. Its sentence is `detail`."""

    def __init__(
        self,
        status: int,
        kind: str,
        title: str,
        detail: str,
        *,
        headers: dict[str, str] | None = None,
        **more: Any,
    ) -> None:
        self.status: Final = status
        self.kind: Final = kind
        self.headers: Final = headers or {}
        self.body: Final = ProblemBody(
            type=f"urn:afield:problem:{kind}", title=title, status=status, detail=detail, **more
        )
        super().__init__(detail)

    def response(self) -> Response:
        """Return the HTTP response."""
        text = self.body.model_dump_json(exclude_none=True)
        return Response(text, self.status, headers=self.headers, media_type=MEDIA_TYPE)


_BY_KIND: Final[dict[ErrorKind, tuple[int, str, str]]] = {
    "exception": (500, "function-raised", "The function raised an exception"),
    "exit": (500, "function-exited", "The function called sys.exit"),
    "timeout": (504, "function-timeout", "The function ran longer than its timeout"),
    "memory": (500, "out-of-memory", "The function exceeded its memory limit"),
    "startup": (500, "startup-failed", "The function's container could not be started"),
    "serialization": (500, "result-not-serializable", "The function's result cannot be sent"),
    "deserialization": (500, "arguments-not-readable", "The arguments could not be read in the container"),
    "lost": (500, "container-lost", "The function's containers died"),
    "cancelled": (409, "cancelled", "The call was cancelled"),
    "unschedulable": (503, "unschedulable", "No worker can run the function"),
    "internal": (500, "platform-error", "The platform failed"),
}

_WRONG_ARGUMENTS: Final = (422, "wrong-arguments", "The function does not take these arguments")


def _is_wrong_call(error: ErrorInfo) -> bool:
    """Tell whether the call itself failed: a traceback holds no line of the user's when none of it ran."""
    return error.kind == "exception" and error.type_name == "TypeError" and '  File "' not in error.traceback


def from_error(error: ErrorInfo, call_id: str) -> Problem:
    """Return the problem for a call that did not end in a value. Nothing of the user's is unpickled for it."""
    status, kind, title = _WRONG_ARGUMENTS if _is_wrong_call(error) else _BY_KIND[error.kind]
    detail = f"{error.type_name}: {error.message}" if error.type_name else error.message
    return Problem(
        status,
        kind,
        title,
        detail,
        instance=call_id,
        exception=error.type_name or None,
        traceback=error.traceback or None,
        exit_code=error.exit_code,
        signal=error.signal,
        logs=list(error.log_tail) or None,
    )


async def on_problem(_: Request, error: Exception) -> Response:
    """Answer with a problem that a handler raised."""
    assert isinstance(error, Problem)
    return error.response()


async def on_http_exception(request: Request, error: Exception) -> Response:
    """Answer what the router refuses (no such path, wrong method) in the same form."""
    assert isinstance(error, HTTPException)
    title = HTTPStatus(error.status_code).phrase
    kind = title.lower().replace(" ", "-")
    allow = (error.headers or {}).get("Allow")
    hint = f"; allowed: {allow}" if allow else "; GET /openapi.json lists what there is"
    detail = f"{request.method} {request.url.path} is not served here{hint}"
    return Problem(error.status_code, kind, title, detail, headers=dict(error.headers or {})).response()
