"""Streams: what is measured and how runs are put together."""

import inspect
import json
from pathlib import Path

import pytest

from afield._wire.subjects import parse_input
from benchmarks import stream_points
from benchmarks.figures import open_console
from benchmarks.stream_load import input_subject
from benchmarks.stream_runs import together
from benchmarks.stream_servers import configs
from benchmarks.streams import AXES, store, table


def test_a_run_lasts_from_the_first_to_the_last() -> None:
    """The rate is that of all processes together, however they overlap."""
    ran = together(
        300,
        [
            {"began": 10.0, "ended": 11.0, "times": [0.5]},
            {"began": 10.5, "ended": 13.0, "times": [0.25]},
        ],
    )
    assert (ran.seconds, ran.rate, ran.times) == (3.0, 100.0, [0.5, 0.25])


def test_every_point_can_be_measured() -> None:
    """The arguments of each fit what measures it, and no two of an axis have one label."""
    for axis in AXES.values():
        assert len({point.label for point in axis.points}) == len(axis.points)
        for point in axis.points:
            inspect.signature(point.measure).bind()


def test_every_column_is_measured() -> None:
    """What a table shows is the name of a figure in the code that measures."""
    source = inspect.getsource(stream_points)
    shown = {column for axis in AXES.values() for column in axis.columns}
    assert not [column for column in shown if f'"{column}"' not in source]


def test_what_was_not_measured_is_left_blank(capsys: pytest.CaptureFixture[str]) -> None:
    """An orderly stop is not waited for where it takes minutes."""
    axis = AXES["consumers"]
    row = dict.fromkeys(axis.columns, 7.0)
    open_console().print(table(axis, {"100": row, "5,000": {**row, "stop_s": 9.0}, "none": {}}))

    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["100", *["7"] * len(row)] in lines
    assert ["5,000", *["7"] * (len(row) - 1), "9"] in lines
    assert ["none"] in lines


def test_what_was_measured_is_stored(tmp_path: Path) -> None:
    """After each axis, so that an end in the middle loses little."""
    store({"results": {"1": {"stored": 2.0}}}, tmp_path / "deep" / "streams.json")

    document = json.loads((tmp_path / "deep" / "streams.json").read_text())
    assert document["axes"] == {"results": {"1": {"stored": 2.0}}}


def test_inputs_are_those_of_the_platform() -> None:
    """The subject of an input that is published reads as one, and its call names the same shard."""
    parsed = parse_input(input_subject(3, "a0", 7))
    assert (parsed.shard, parsed.call_id) == (3, "fc-a0-3-7")


def test_servers_of_a_cluster_know_each_other(tmp_path: Path) -> None:
    """Each has a store, a name and an address of its own, and the addresses of all."""
    made = configs(tmp_path, 3, "always")
    assert len({config["jetstream"]["store_dir"] for config in made}) == 3
    assert len({config["server_name"] for config in made}) == 3
    for config in made:
        assert config["cluster"]["routes"] == [f"nats://{each['cluster']['listen']}" for each in made]
        assert config["jetstream"]["sync_interval"] == "always"


def test_one_server_is_no_cluster(tmp_path: Path) -> None:
    """It would wait for others."""
    (config,) = configs(tmp_path, 1, "10s")
    assert "cluster" not in config
