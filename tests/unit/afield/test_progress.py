"""What is shown of a run."""

import re
from typing import Any

import pytest

from afield._progress import AppState, MapState, Progress
from afield._wire.messages import Event, EventKind


def progress() -> Progress:
    made = Progress()
    made.apps["ap-1"] = AppState("demo", "running", {"fu-1": "square"})
    return made


def event(kind: EventKind, **fields: Any) -> Event:
    return Event(
        kind=kind, at=0.0, app_id="ap-1", **{"function_id": "fu-1", "container_id": "ta-1", **fields}
    )


def plain(lines: list[str]) -> list[str]:
    return [re.sub(r"\x1b\[[0-9;]*m", "", line).rstrip() for line in lines]


def test_nothing_goes_on_nothing_is_shown() -> None:
    """No app, no map, no block."""
    assert Progress().lines(80, 0.0) == []


def test_containers_are_counted() -> None:
    """Starting ones and ready ones."""
    shown = progress()
    shown.on_event(event("container.starting"))
    shown.on_event(event("container.starting", container_id="ta-2"))
    shown.on_event(event("container.ready"))

    assert plain(shown.lines(80, 0.0))[0].endswith("demo: running, 1 container ready, 1 starting")
    assert shown.containers("ap-1") == 2


def test_containers_that_end_are_forgotten() -> None:
    """Stopped or failed."""
    shown = progress()
    shown.on_event(event("container.ready"))
    shown.on_event(event("container.starting", container_id="ta-2"))
    shown.on_event(event("container.stopped"))
    shown.on_event(event("container.failed", container_id="ta-2"))

    assert shown.containers("ap-1") == 0


def test_first_container_is_news() -> None:
    """Where there is no block, a line says that a function is ready, once."""
    shown = progress()

    assert shown.on_event(event("container.ready")) == ["square: the first container is ready"]
    assert shown.on_event(event("container.ready", container_id="ta-2")) == []


def test_variants_have_the_name_of_their_function() -> None:
    """And are the same news."""
    shown = progress()

    assert shown.on_event(event("container.ready", function_id="fu-1-abc")) == [
        "square: the first container is ready"
    ]
    assert shown.on_event(event("container.ready", function_id="fu-1-def")) == []
    shown.on_event(event("function.waiting", function_id="fu-1-abc", detail="no room"))
    assert plain(shown.lines(80, 0.0))[1].strip() == "square is waiting: no room"


def test_reasons_for_waiting_are_told_once() -> None:
    """The same reason again is no news; the block shows it as long as it holds."""
    shown = progress()

    assert shown.on_event(event("function.waiting", detail="no GPU")) == ["square: waiting: no GPU"]
    assert shown.on_event(event("function.waiting", detail="no GPU")) == []
    assert plain(shown.lines(80, 0.0))[1] == "  square is waiting: no GPU"


def test_failures_are_told_with_their_reason() -> None:
    """A container that cannot start says why."""
    assert progress().on_event(event("container.failed", detail="boom")) == [
        "square: container ta-1 failed: boom"
    ]


def test_events_of_other_apps_are_ignored() -> None:
    """They are shown where they run."""
    assert Progress().on_event(event("container.ready")) == []


def test_maps_show_what_is_done_of_how_many() -> None:
    """With a total if it is known."""
    shown = Progress()
    shown.maps += [MapState("square", 1000, 250), MapState("endless", None, 7)]

    lines = plain(shown.lines(80, 0.0))

    assert [(line.split()[0], line.split()[-1]) for line in lines] == [
        ("square", "250/1,000"),
        ("endless", "7"),
    ]


def test_lines_fit_the_terminal() -> None:
    """A line that wrapped could not be erased."""
    shown = progress()
    shown.status = "x" * 300
    shown.on_event(event("function.waiting", detail="y" * 300))
    shown.maps.append(MapState("z" * 300, 10, 1))

    assert max(len(line) for line in plain(shown.lines(40, 0.0))) < 40


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_block_is_drawn_with_what_the_terminal_has(encoding: str) -> None:
    """Spinner, bar, ellipsis and names."""
    shown = Progress(encoding=encoding)
    shown.status = "x" * 300
    shown.maps += [MapState("grün→", 1000, 250), MapState("z" * 300, None, 1)]

    lines = plain(shown.lines(60, 0.0))

    "".join(lines).encode(encoding)
    assert lines[0].startswith("| xx")
    assert lines[0].endswith("x.")
    assert lines[1].startswith("gr\u00fcn?" if encoding == "latin-1" else "gr?n?")


def test_notices_and_failing_functions_are_news() -> None:
    """A function whose containers do not come up stays in the block until one starts."""
    shown = progress()

    assert shown.on_event(event("container.notice", detail="no snapshot: threads run")) == [
        "square: no snapshot: threads run"
    ]
    assert shown.on_event(event("function.failing", detail="it fails")) == ["square: it fails"]
    assert plain(shown.lines(80, 0.0))[1] == "  square is waiting: it fails"
    shown.on_event(event("container.starting"))
    assert len(shown.lines(80, 0.0)) == 1
