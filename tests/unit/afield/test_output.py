"""enable_output, where standard error is no terminal."""

from io import TextIOWrapper

import pytest

from afield import output
from afield._wire.messages import Event, LogBatch, LogRecord
from afield.output import enable_output
from support.launching import wait_for


def batch(container: str, text: str) -> LogBatch:
    record = LogRecord(at=0.0, stream="stdout", data=text.encode())
    return LogBatch(container_id=container, function_id="fu-1", records=(record,))


def test_output_is_off_by_default() -> None:
    """A plain run is silent."""
    assert output.current() is None
    assert output.map_progress("f", 10) is None
    output.settle()


def test_output_is_on_inside_the_block() -> None:
    """And off again behind it."""
    with enable_output():
        assert output.current() is not None

    assert output.current() is None


def test_what_containers_write_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """To the stream that it was written to; a second container brings labels."""
    with enable_output(show_progress=False):
        screen = output.current()
        assert screen is not None
        screen.app_created("demo", "ap-1")
        screen.app_running("ap-1", {"fu-1": "square"})
        screen.on_log("ap-1", batch("ta-1", "one\n"))
        screen.on_log("ap-1", batch("ta-2", "two\n"))
        screen.app_ended("ap-1", detached=False)

    assert capsys.readouterr() == ("one\n[square ta-2] two\n", "")


def test_results_come_after_the_output_before_them(capsys: pytest.CaptureFixture[str]) -> None:
    """`settle` is what a call does before it returns."""
    with enable_output():
        screen = output.current()
        assert screen is not None
        screen.on_log("ap-1", batch("ta-1", "partial"))
        output.settle()

        assert capsys.readouterr().out == "partial"


@pytest.mark.anyio
async def test_results_come_after_the_output_asynchronously(capsys: pytest.CaptureFixture[str]) -> None:
    """The same from a loop."""
    with enable_output():
        screen = output.current()
        assert screen is not None
        screen.on_log("ap-1", batch("ta-1", "partial"))
        await output.settle_async()

        assert capsys.readouterr().out == "partial"


def test_lines_that_wait_for_an_open_one_come_by_themselves(capsys: pytest.CaptureFixture[str]) -> None:
    """And before a result."""
    with enable_output(show_progress=False):
        screen = output.current()
        assert screen is not None
        screen.on_log("ap-1", batch("ta-1", "cut"))
        screen.on_log("ap-1", batch("ta-2", "whole\n"))
        output.settle()
        assert capsys.readouterr().out == "cut\n[fu-1 ta-2] whole\n"

        screen.on_log("ap-1", batch("ta-1", "name: "))
        assert wait_for(lambda: capsys.readouterr().out, "the prompt") == "[fu-1 ta-1] name: "


def test_progress_is_told_in_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """On standard error, so that standard output stays the program's."""
    with enable_output():
        screen = output.current()
        assert screen is not None
        screen.app_created("demo", "ap-1")
        screen.app_running("ap-1", {"fu-1": "square"})
        shown = output.map_progress("square", 10)
        assert shown is not None
        shown.update(10, None)
        shown.close()
        screen.app_ended("ap-1", detached=False)

    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "afield: app demo runs (ap-1)",
        "afield: square: 10 of 10 inputs done",
        "afield: app demo has ended (ap-1)",
    ]


@pytest.mark.parametrize("options", [{"quiet": True}, {"show_progress": False}])
def test_progress_can_be_left_away(options: dict[str, bool], capsys: pytest.CaptureFixture[str]) -> None:
    """What containers write is shown all the same."""
    with enable_output(**options):
        screen = output.current()
        assert screen is not None
        screen.app_created("demo", "ap-1")
        screen.app_running("ap-1", {})
        screen.on_log("ap-1", batch("ta-1", "one\n"))
        assert output.map_progress("square", 10) is None

    assert capsys.readouterr() == ("one\n", "")


@pytest.mark.anyio
async def test_end_of_a_run_waits_for_its_containers() -> None:
    """Their last words come before the last of the events."""
    import anyio

    with enable_output(show_progress=False):
        screen = output.current()
        assert screen is not None
        screen.app_created("demo", "ap-1")
        ready = Event(kind="container.ready", at=0.0, app_id="ap-1", function_id="fu-1", container_id="ta-1")
        screen.on_event(ready)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(screen.containers_gone, "ap-1", 60.0)
            await anyio.lowlevel.checkpoint()
            screen.on_event(
                Event(
                    kind="container.stopped", at=0.0, app_id="ap-1", function_id="fu-1", container_id="ta-1"
                )
            )


def test_a_lost_connection_is_told_once(capfd: pytest.CaptureFixture[str]) -> None:
    """However many clients of the process lose theirs, and also when no progress is shown."""
    with enable_output(show_progress=False):
        screen = output.current()
        assert screen is not None
        for tell in (screen.connection_lost, screen.connection_back):
            tell("one")
            tell("two")

    lost, back = capfd.readouterr().err.splitlines()
    assert lost == "afield: connection to the platform lost, reconnecting"
    assert back == "afield: connection to the platform is back"


@pytest.mark.parametrize(("progress", "said"), [(True, "afield: f: no snapshot\n"), (False, "")])
def test_notices_are_shown(progress: bool, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """They are for whoever watches the progress."""
    with enable_output(show_progress=progress):
        screen = output.current()
        assert screen is not None
        screen.app_created("demo", "ap-1")
        screen.app_running("ap-1", {"fu-1": "f"})
        output.settle()
        capsys.readouterr()
        screen.on_event(
            Event(kind="container.notice", at=0.0, app_id="ap-1", function_id="fu-1", detail="no snapshot")
        )
        output.settle()

        assert capsys.readouterr().err == said


def show_and_raise(error: Exception | None) -> None:
    with enable_output(show_progress=False):
        screen = output.current()
        assert screen is not None
        screen.app_created("demo", "ap-1")
        screen.on_log("ap-1", batch("ta-1", "lost\n"))
        screen.app_ended("ap-1", detached=False)
        output.settle()
        if error is not None:
            raise error


@pytest.mark.parametrize(("error", "expected"), [(None, OSError), (KeyError("mine"), KeyError)])
def test_output_that_cannot_be_written_is_an_error(
    monkeypatch: pytest.MonkeyPatch, error: Exception | None, expected: type[Exception]
) -> None:
    """At the end of the block, which runs to its end; an error of the block itself comes first."""
    full = open("/dev/full", "wb", buffering=0)  # noqa: SIM115 - with a buffer its end would fail, too
    with full, TextIOWrapper(full, write_through=True) as stream:
        monkeypatch.setattr("sys.stdout", stream)
        with pytest.raises(expected):
            show_and_raise(error)
        monkeypatch.undo()
