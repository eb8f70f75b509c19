"""How the command says what is wrong, and how it ends where it can say nothing."""

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from afield.cli import interrupts
from afield.cli.__main__ import main


@pytest.fixture(autouse=True)
def _no_interrupts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands that run in this process leave its signals alone, and hold back nothing at their end."""
    monkeypatch.setattr(interrupts, "listen", lambda: None)
    monkeypatch.setattr(interrupts._State, "held", False)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("status --jsno", "No such option '--jsno'. Did you mean '--json'? (see afield status --help)"),
        ("app list --nev x", "No such option '--nev'. Did you mean '--env'? (see afield app list --help)"),
        ("down --forc", "No such option '--forc'. Did you mean '--force'? (see afield down --help)"),
    ],
)
def test_options_that_are_not_there(line: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With what was meant."""
    with pytest.raises(SystemExit) as ended:
        main(line.split())

    assert ended.value.code == 2
    assert capsys.readouterr() == ("", f"Error: {said}\n")


def test_one_pair_of_brackets(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where several options may be meant, click puts them in brackets itself."""

    @click.command()
    @click.option("--help-me")
    @click.option("--level")
    def command(**_options: str) -> None: ...

    monkeypatch.setattr("afield.cli.command.afield", command)
    with pytest.raises(SystemExit):
        main(["--lvel"])
    said = capsys.readouterr().err

    assert "(Did you mean one of: " in said
    assert said.count("(") == said.count(")") == 1
    assert said.endswith("see afield --help)\n")


def test_short_help_is_whole(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing of it is cut."""
    with pytest.raises(SystemExit):
        main(["app", "--help"])

    assert "..." not in capsys.readouterr().out.partition("Commands:")[2]


def test_ctrl_c_while_the_command_is_imported() -> None:
    """It is one like any other: no traceback, and the status of a signal."""
    program = (
        "import os, signal, sys\n"
        "from afield.cli.__main__ import main\n"
        "class Finder:\n"
        "    def find_spec(name, path, target=None):\n"
        "        if name == 'click': os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Finder)\n"
        "main(['--version'])"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (130, "", "Interrupted.\n")


@pytest.mark.parametrize("line", ["--help", "--version", "run --help", "status", "app list", "down"])
def test_a_reader_that_has_left(line: str, tmp_path: Path) -> None:
    """The status is that of any command whose reader leaves, and nothing is said."""
    reader, writer = os.pipe()
    os.close(reader)
    environment = {**os.environ, "AFIELD_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "afield.cli", *line.split()]
    done = subprocess.run(
        command, env=environment, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=30, check=False
    )
    os.close(writer)

    assert (done.returncode, done.stderr) == (141, "")
