"""The folders of containers."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from afield_worker import homes
from afield_worker.homes import Homes


def test_the_source_is_linked_and_the_home_is_writable(tmp_path: Path) -> None:
    """What user code writes beside its source stays in the home."""
    bundle = tmp_path / "bundle"
    (bundle / "package").mkdir(parents=True)
    (bundle / "main.py").write_text("x = 1")
    home = Homes(tmp_path / "homes", "wk-1").create("ta-1", bundle)
    assert (home / "main.py").read_text() == "x = 1"
    assert (home / "package").is_dir()
    (home / "written").touch()
    assert not (bundle / "written").exists()


def test_removing_a_home_leaves_what_it_links_to(tmp_path: Path) -> None:
    """Other containers use the same source."""
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "main.py").touch()
    made = Homes(tmp_path / "homes", "wk-1")
    home = made.create("ta-1", bundle)
    made.remove("ta-1")
    assert not home.exists()
    assert (bundle / "main.py").exists()


def test_what_a_killed_worker_left_is_swept(tmp_path: Path) -> None:
    """The folders of live ones stay, even if their process id was used before."""
    live = homes.claim(tmp_path, "wk-live")
    for name, mark in (("wk-dead", "999999999 1.0"), ("wk-earlier", "1 1.0"), ("wk-broken", "nonsense")):
        (tmp_path / name).mkdir()
        (tmp_path / name / ".owner").write_text(mark)
    assert homes.sweep(tmp_path) == 3
    assert list(tmp_path.iterdir()) == [live]


def test_two_workers_may_sweep_at_once(tmp_path: Path) -> None:
    """What one of them has removed before the other looks is no error for that one."""
    for number in range(200):
        (tmp_path / f"wk-{number}").mkdir()
        (tmp_path / f"wk-{number}" / ".owner").write_text("999999999 1.0")
    with ThreadPoolExecutor() as pool:
        assert sum(pool.map(homes.sweep, [tmp_path] * 2)) >= 200
    assert not list(tmp_path.iterdir())
    assert not homes._in_use(tmp_path / "wk-0")


def test_a_folder_that_is_just_being_made_is_not_swept(tmp_path: Path) -> None:
    """It has no mark yet."""
    (tmp_path / "wk-new").mkdir()
    assert homes.sweep(tmp_path) == 0


def test_a_worker_takes_over_from_a_dead_one_of_its_id(tmp_path: Path) -> None:
    """Two live ones of the same id are an error."""
    (tmp_path / "wk-1").mkdir()
    (tmp_path / "wk-1" / ".owner").write_text("999999999 1.0")
    homes.claim(tmp_path, "wk-1")
    with pytest.raises(FileExistsError):
        homes.claim(tmp_path, "wk-1")
