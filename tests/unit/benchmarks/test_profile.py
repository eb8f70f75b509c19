"""The profile of a platform: whose time is whose, and how it is shown."""

from collections import Counter

from benchmarks.figures import open_console
from benchmarks.profile import (
    ORDER,
    Spent,
    busiest,
    functions_table,
    heading,
    name_processes,
    summarise,
    times_table,
)
from benchmarks.sampling import why

KINDS = {
    1: "client",
    2: "nats-server",
    3: "services",
    4: "containers",
    5: "containers",
    6: "supervisor",
    7: "template",
}
TIMES = {1: 3_000_000, 2: 4_000_000, 3: 1_000_000, 4: 500_000, 5: 1_490_000, 6: 10_000, 7: 0}


def test_processes_are_told_apart_by_command_and_parent() -> None:
    """A container is a fork of the template, and looks like it."""
    template = ["python", "-m", "afield._guest.template"]
    rows = [
        (10, 1, ["python", "-m", "afield_platform"]),
        (11, 10, ["/opt/bin/nats-server", "-c", "x.conf"]),
        (12, 10, ["python", "-m", "afield_platform.serve"]),
        (13, 12, template),
        (14, 13, template),
        (15, 14, ["sh", "-c", "what user code started"]),
    ]

    assert name_processes(rows, 10) == {
        10: "supervisor",
        11: "nats-server",
        12: "services",
        13: "template",
        14: "containers",
        15: "containers",
    }


def test_time_is_shown_by_kind_of_process() -> None:
    """For each call, in microseconds, and as a part of the whole; processes of a kind together."""
    spent = summarise(KINDS, TIMES, calls=100)

    assert [each.kind for each in spent] == list(ORDER)
    assert spent[0] == Spent("client", 1, 30.0, 0.3)
    assert spent[3] == Spent("containers", 2, 19.9, 0.199)


def test_the_busiest_process_of_each_kind_is_looked_into() -> None:
    """Not those that hardly run, nor what is no Python."""
    assert busiest(KINDS, TIMES) == {"client": 1, "services": 3, "containers": 5}


def test_tables_say_what_was_found() -> None:
    """Functions below one percent are left out, and so are those beyond the number asked for."""
    console = open_console()
    stacks = Counter(
        {("main (a.py)", "work (a.py)"): 700, ("main (a.py)",): 295, ("main (a.py)", "rare (a.py)"): 5}
    )
    with console.capture() as said:
        console.print(times_table(summarise(KINDS, TIMES, calls=100), rate=12_345))
        console.print(functions_table(stacks, 12))
        console.print(functions_table(stacks, 1))
        console.print(
            heading("client", Counter({("Runner.run (asyncio/runners.py)",): 3, ("main (a.py)",): 1}))
        )
    text = said.get()
    lines = [line.split() for line in text.splitlines()]

    assert ["nats-server", "1", "40.0", "40"] in lines
    assert ["together,", "at", "12,345/s", "7", "100.0", "100"] in lines
    assert not any(line[:1] == ["template"] for line in lines)
    assert lines.count(["work", "(a.py)", "70.0", "70.0"]) == 2
    assert lines.count(["main", "(a.py)", "29.5", "100.0"]) == 1
    assert "client: of 4 samples, 75 % in the event loop" in text
    assert not any(line[:1] == ["rare"] for line in lines)


def test_the_complaint_of_the_sampler_is_passed_on() -> None:
    """In one line, without the stack of its own."""
    said = "Permission Denied: Try running again with sudo\nError: Failed to open process 1\n\nCaused by:\n    0: Operation not permitted (os error 1)\n\nStack backtrace:\n   0: main\n"

    assert why(said) == (
        "py-spy says: Permission Denied: Try running again with sudo; Failed to open process 1; "
        "Operation not permitted (os error 1)"
    )
