"""A template's process that is started ahead of its worker."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from afield_worker.runners import spawn
from afield_worker.runners.process import ProcessRunner
from support.guests import launching
from support.waiting import until

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def none_ahead() -> Iterator[None]:
    """Leave no process behind."""
    yield
    while spawn._ahead:
        left = spawn._ahead.pop()
        left.control.close()
        left.process.wait()


async def test_the_first_runner_takes_it(tmp_path: Path) -> None:
    """Its template is the process that was started ahead, and serves."""
    spawn.spawn_ahead()
    (ahead,) = spawn._ahead

    async with ProcessRunner() as runner, launching(runner, tmp_path) as launch:
        guest = await launch("def f(): return 1")

        assert await guest.value() == 1
        assert runner.template_pid == ahead.process.pid


async def test_one_that_has_died_is_not_taken(tmp_path: Path) -> None:
    """The runner starts another."""
    spawn.spawn_ahead()
    (ahead,) = spawn._ahead
    ahead.process.kill()
    await until(lambda: ahead.process.poll() is not None)

    async with ProcessRunner() as runner, launching(runner, tmp_path) as launch:
        guest = await launch("def f(): return 1")

        assert await guest.value() == 1
        assert runner.template_pid != ahead.process.pid


def test_another_interpreter_is_another_template(tmp_path: Path) -> None:
    """One that was started ahead is of this interpreter."""
    spawn.spawn_ahead()

    with pytest.raises(OSError, match="No such file"):
        spawn.spawn(str(tmp_path / "python"))
    assert len(spawn._ahead) == 1
