"""How an input ended, as the worker is told."""

from dataclasses import replace
from typing import Any, Literal

from afield import serialization
from afield._errors import to_error_info
from afield._guest.endings import exit_status
from afield._guest.payloads import PayloadError, read_payload, write_payload
from afield._wire.guest import Start
from afield._wire.messages import BlobRef, ErrorInfo, ErrorKind, InputResult
from afield._wire.streams import INLINE_LIMIT

Phase = Literal["deserialization", "exception", "serialization"]
"""What an input is at, and the kind of the error that ends it there. All of it may run user code."""

Interruption = Literal["cancelled", "timeout", "preempted"]
"""Why running user code is to end."""


class Outcomes:
    """Makes arguments of payloads, and results of what user code returned or raised."""

    def __init__(self, start: Start) -> None:
        self._blob_dir = start.blob_dir
        self._container_id = start.container_id
        self._home = start.home
        self._name = start.function.spec.name
        self._timeout = start.function.spec.timeout

    def arguments(self, payload: bytes | BlobRef) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return `(args, kwargs)`. Raises DeserializationError, or PayloadError for the host's faults."""
        return serialization.loads_call(read_payload(payload))

    def serialize(self, value: Any) -> serialization.Serialized:
        """Return a value as bytes. Raises SerializationError."""
        return serialization.dumps(value)

    def store(self, data: serialization.Serialized, call_id: str) -> bytes | BlobRef:
        """Return a serialised value as it may travel. Raises PayloadError."""
        return write_payload(data.parts, data.size, blob_dir=self._blob_dir, call_id=call_id)

    def ok(self, index: int, data: serialization.Serialized, call_id: str, run_s: float) -> InputResult:
        """Return the result of an input that ended in a value."""
        try:
            value = self.store(data, call_id)
        except PayloadError as error:
            return self.failed(index, error, "serialization", call_id, run_s)
        return InputResult(index=index, status="ok", value=value, run_s=run_s)

    def failed(
        self, index: int, error: BaseException, phase: Phase, call_id: str, run_s: float
    ) -> InputResult:
        """Return the result of an input that raised while it was at `phase`."""
        kind: ErrorKind = phase
        if isinstance(error, PayloadError):
            kind, error = "internal", error.told
        if isinstance(error, SystemExit) and phase == "exception":
            exit_status(error)  # it prints a message, if the user gave one
        if phase == "exception" and _is_wrong_call(error):
            error.__traceback__ = None  # our frame, which called the function; it says nothing
        info = to_error_info(error, kind=kind, container_id=self._container_id, home=self._home)
        return InputResult(index=index, status="error", run_s=run_s, error=self._bounded(info, call_id))

    def interrupted(
        self, index: int, why: Interruption, error: BaseException | None, call_id: str, run_s: float
    ) -> InputResult:
        """Return the result of an input that was cancelled, or ran for too long; `error` says where it was."""
        if why == "cancelled":
            return InputResult(index=index, status="cancelled", run_s=run_s)
        message = f"{self._name} ran for longer than its timeout of {self._timeout:g} s"
        if error is None:
            info = ErrorInfo(kind="timeout", message=message, container_id=self._container_id)
        else:
            info = to_error_info(error, kind="timeout", container_id=self._container_id, home=self._home)
            info = self._bounded(replace(info, message=message), call_id)
        return InputResult(index=index, status="error", run_s=run_s, error=info)

    def ended(self, index: int, run_s: float) -> InputResult:
        """Return the result of a generator that has yielded all its values."""
        return InputResult(index=index, status="ok", run_s=run_s)

    def not_started(self, error: BaseException) -> ErrorInfo:
        """Return why the container could not be made ready."""
        info = to_error_info(error, kind="startup", container_id=self._container_id, home=self._home)
        return self._bounded(info, self._container_id)

    def _bounded(self, info: ErrorInfo, call_id: str) -> ErrorInfo:
        """Move an exception that holds much data out of the frame."""
        data = info.exception
        if not isinstance(data, bytes) or len(data) <= INLINE_LIMIT:
            return info
        try:
            stored = write_payload([data], len(data), blob_dir=self._blob_dir, call_id=call_id)
        except PayloadError as error:
            text = f"{info.traceback}\n(the exception itself is not here: {error})"
            return replace(info, exception=None, traceback=text)
        return replace(info, exception=stored)


def _is_wrong_call(error: BaseException) -> bool:
    """Tell whether a call failed before any line of the function ran: it does not take these arguments."""
    trace = error.__traceback__
    return type(error) is TypeError and trace is not None and trace.tb_next is None
