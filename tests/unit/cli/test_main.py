"""How the command says what is wrong, and how it ends where it can say nothing."""

import click
import pytest

from afield.cli import interrupts
from afield.cli.__main__ import main


@pytest.fixture(autouse=True)
def _not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands that run in this process hold back interrupts at their end."""
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

    monkeypatch.setattr("afield.cli.__main__.afield", command)
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
