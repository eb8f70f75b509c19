"""afield_common.log: one form for all events, with the keys that tie them together."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from afield_common import log


@pytest.fixture(autouse=True)
def _restore_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_json_when_nobody_looks() -> None:
    """A stream that is no terminal gets one JSON object a line, with time, level, module and message."""
    out = io.StringIO()
    log.configure("info", "auto", out)
    log.get_logger("afield_x").info("container started", container_id="ta-1")
    (line,) = lines(out)
    assert line["msg"] == "container started"
    assert line["container_id"] == "ta-1"
    assert {"timestamp", "level", "module"} <= line.keys()


def test_bound_keys_appear_inside_the_block_only() -> None:
    """Keys bound for a task are on each of its events, and gone afterwards."""
    out = io.StringIO()
    log.configure("info", "json", out)
    logger = log.get_logger("afield_x")
    with log.bind(call_id="fc-a-0-1", worker_id="wk-1"):
        logger.info("inside")
    logger.info("outside")
    inside, outside = lines(out)
    assert (inside["call_id"], inside["worker_id"]) == ("fc-a-0-1", "wk-1")
    assert "call_id" not in outside


def test_console_form_is_for_people() -> None:
    """The console form is one readable line, not JSON."""
    out = io.StringIO()
    log.configure("info", "console", out)
    log.get_logger("afield_x").warning("worker is gone", worker_id="wk-1")
    assert "worker is gone" in out.getvalue()
    assert "worker_id=wk-1" in out.getvalue()
    assert not out.getvalue().startswith("{")


def test_level_filters() -> None:
    """Events below the level are not written."""
    out = io.StringIO()
    log.configure("warning", "json", out)
    log.get_logger("afield_x").info("quiet")
    assert out.getvalue() == ""


def test_standard_logging_comes_out_alike() -> None:
    """A library's warning is one of our lines, with its logger as the module."""
    out = io.StringIO()
    log.configure("info", "json", out)
    logging.getLogger("nats").warning("slow %s", "consumer")
    (line,) = lines(out)
    assert (line["msg"], line["module"], line["level"]) == ("slow consumer", "nats", "warning")


def test_second_configure_replaces_the_first() -> None:
    """Setting up twice does not write twice."""
    first, second = io.StringIO(), io.StringIO()
    log.configure("info", "json", first)
    log.configure("info", "json", second)
    logging.getLogger("nats").warning("once")
    log.get_logger("afield_x").info("once")
    assert first.getvalue() == ""
    assert len(lines(second)) == 2


def test_exceptions_are_part_of_the_line() -> None:
    """A traceback stays inside its JSON object."""
    out = io.StringIO()
    log.configure("info", "json", out)
    try:
        raise ValueError("broken")
    except ValueError:
        log.get_logger("afield_x").exception("request failed")
    (line,) = lines(out)
    assert "ValueError: broken" in line["exception"]
