"""How an input ended, fetched but not unpickled: the caller's own thread unwraps it."""

from dataclasses import replace
from typing import Any

from afield._errors import from_error_info
from afield._payloads import Payloads
from afield._wire.functions import FunctionSpec
from afield._wire.messages import ErrorInfo, InputResult
from afield.exception import InternalFailure
from afield.serialization import Buffer, loads


class CallOutcome:
    """The value or the error of one input. `spec` is the function's, for tracebacks, if it is known."""

    __slots__ = ("error", "spec", "value")

    def __init__(self, value: Buffer | None, error: ErrorInfo | None, spec: FunctionSpec | None) -> None:
        self.value = value
        self.error = error
        self.spec = spec

    def unwrap(self) -> Any:
        """Return the value, or raise the error as the user's code raised it."""
        if self.error is None:
            return None if self.value is None else loads(self.value)
        raise self.exception()

    def exception(self) -> Exception:
        """Return the error as an exception."""
        assert self.error is not None
        if self.spec is None:
            return from_error_info(self.error)
        return from_error_info(
            self.error,
            function_name=self.spec.name,
            local_root=self.spec.code.local_root,
            attempts=self.spec.retries.max_retries + 1,
        )


async def outcome_of(
    result: InputResult, payloads: Payloads, spec: FunctionSpec | None, *, keep: bool
) -> CallOutcome:
    """Return the outcome of a stored result, with its blob fetched; see `Payloads.fetch` for `keep`."""
    if result.status == "ok":
        value = None if result.value is None else await payloads.fetch(result.value, keep=keep)
        return CallOutcome(value, None, spec)
    info = result.error
    if info is None:
        if result.status != "cancelled":
            raise InternalFailure(f"a result with status {result.status!r} came without an error: {result!r}")
        info = ErrorInfo(kind="cancelled", message="the call was cancelled")
    if info.exception is not None and not isinstance(info.exception, bytes):
        info = replace(info, exception=bytes(await payloads.fetch(info.exception, keep=keep)))
    return CallOutcome(None, info, spec)
