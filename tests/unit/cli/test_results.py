"""What can be written with --write-result."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest

from afield.cli import results
from afield.cli.errors import FailureError, WrongUseError


def returning(hint: Any) -> Callable[[], Any]:
    """A function with this annotation."""

    def function() -> Any: ...

    function.__annotations__["return"] = hint
    return function


@pytest.mark.parametrize(
    "hint", [str, bytes, object, Any, str | None, int | bytes, Annotated[str, 1], Literal["a"], "NotThere"]
)
def test_what_may_be_text(hint: Any) -> None:
    """What is text, or may be, is let through."""
    results.check(returning(hint), "f")


@pytest.mark.parametrize("hint", [int, None, list[str], int | None, Literal[1], Annotated[int, 1]])
def test_what_cannot_be_text(hint: Any) -> None:
    """What is never text is refused, with its name."""
    with pytest.raises(WrongUseError, match=r"but f returns .*, as its annotation says"):
        results.check(returning(hint), "f")


def test_without_annotation() -> None:
    """Without an annotation the result itself will show."""
    results.check(lambda: 1, "f")


def test_places_are_checked_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that is there and writable is well; other places are wrong use."""
    (tmp_path / "file").touch()
    results.check_place(tmp_path / "file")
    results.check_place(tmp_path / "new")
    results.check_place(Path("/dev/null"))
    with pytest.raises(WrongUseError, match=r"the folder of .* does not exist; nothing was run"):
        results.check_place(tmp_path / "none" / "new")
    with pytest.raises(WrongUseError, match="is no folder"):
        results.check_place(tmp_path / "file" / "new")

    monkeypatch.setattr("os.access", lambda *_: False)  # root may write everywhere
    with pytest.raises(WrongUseError, match="file is not writable"):
        results.check_place(tmp_path / "file")
    with pytest.raises(WrongUseError, match=r"the folder of .* is not writable"):
        results.check_place(tmp_path / "new")


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    """The reason why nothing was written is told."""
    with pytest.raises(FailureError, match=r"cannot write the result to .*: No such file or directory"):
        results.write("x", tmp_path / "none" / "file", "f")
