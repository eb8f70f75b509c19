"""Logging: events with bound keys, for people on a terminal and as JSON lines otherwise, to stderr.

    log = get_logger(__name__)
    log.info("container started", container_id=..., function_id=...)

Keys bound with `bind(call_id=...)` appear in every event logged by the current task and its children.
Records of the standard library's `logging` (nats-py, uvicorn) come out in the same form.
"""

import logging
import sys
from contextlib import AbstractContextManager
from typing import Any, TextIO, cast

from afield_common.plain_structlog import structlog
from afield_common.settings import LogFormat, LogLevel

Logger = structlog.typing.FilteringBoundLogger

KEYS = ("role", "worker_id", "container_id", "function_id", "call_id")
"""The keys that tie events together across services, in the order in which they are printed."""


def get_logger(name: str) -> Logger:
    """Return the logger of a module."""
    return cast("Logger", structlog.get_logger(module=name))


def bind(**keys: Any) -> AbstractContextManager[None]:
    """Bind keys to all events logged inside the `with` block, by this task and the tasks it starts."""
    return cast("AbstractContextManager[None]", structlog.contextvars.bound_contextvars(**keys))


def configure(level: LogLevel = "info", form: LogFormat = "auto", stream: TextIO | None = None) -> None:
    """Set up logging for this process; a second call replaces the first.

    `stream` defaults to stderr, looked up now.
    """
    out = stream or sys.stderr
    people = form == "console" or (form == "auto" and out.isatty())
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S.%f" if people else "iso", utc=not people),
        structlog.processors.StackInfoRenderer(),
    ]
    last = _for_people(out) if people else _for_machines()
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(out),
        cache_logger_on_first_use=False,
    )
    _adopt_standard_logging(shared, last, out, number)


def _for_people(out: TextIO) -> list[structlog.typing.Processor]:
    return [
        structlog.dev.ConsoleRenderer(
            colors=out.isatty(), exception_formatter=structlog.dev.plain_traceback, pad_event_to=24
        )
    ]


def _for_machines() -> list[structlog.typing.Processor]:
    return [
        structlog.processors.format_exc_info,
        structlog.processors.EventRenamer("msg"),
        _in_order,
        structlog.processors.JSONRenderer(),
    ]


def _in_order(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Put time, level, message and our keys first, so that lines read well in a column."""
    first = ("timestamp", "level", "module", "msg", *KEYS)
    ordered = {key: event[key] for key in first if key in event}
    ordered.update(event)
    return ordered


def _module_of_record(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Name the logger of a standard library record like a module of ours."""
    record: logging.LogRecord = event["_record"]
    event["module"] = record.name
    return event


def _adopt_standard_logging(
    shared: list[structlog.typing.Processor],
    last: list[structlog.typing.Processor],
    out: TextIO,
    level: int,
) -> None:
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, _module_of_record],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    for old in [h for h in root.handlers if isinstance(h.formatter, structlog.stdlib.ProcessorFormatter)]:
        root.removeHandler(old)
    root.addHandler(handler)
    # Libraries speak up from `warning` on, unless somebody is looking for a fault.
    root.setLevel(level if level <= logging.DEBUG else max(level, logging.WARNING))
