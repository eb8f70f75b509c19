"""What in a module could be run."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import afield
from afield.cli.errors import WrongUseError
from afield.cli.loading import UserCodeError, candidates, load
from afield.cli.refs import Ref

SOURCE = """
import afield

app = afield.App("a")
second = afield.App("b")
elsewhere = afield.Function.from_name("other", "f")

@app.function()
def f(): ...

alias = f

@app.function()
def gen():
    yield 1

@app.local_entrypoint(name="start")
def main(): ...

@second.function(name="renamed")
def original(): ...

def make():
    @app.function(serialized=True)
    def hidden(): ...

make()
"""


@pytest.fixture(autouse=True)
def clean_imports(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """What a test imports from its own folder is forgotten after it."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield
    for name, loaded in [*sys.modules.items()]:
        if str(getattr(loaded, "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


def module(folder: Path, source: str, name: str = "loaded_by_test") -> ModuleType:
    """A module loaded from a file with this source."""
    (folder / f"{name}.py").write_text(source)
    return load(Ref(folder / f"{name}.py", "", ""))


def test_candidates(tmp_path: Path) -> None:
    """Functions and entrypoints are found with all the names they can be called by, looked-up ones are not."""
    found, apps = candidates(module(tmp_path, SOURCE))
    assert apps == ["app", "second"]
    assert [(c.kind, c.names, c.in_module, c.app) for c in found] == [
        ("function", ("f", "alias", "app.f"), True, "app"),
        ("generator", ("gen", "app.gen"), True, "app"),
        ("entrypoint", ("main", "app.start", "start"), True, "app"),
        ("function", ("original", "second.renamed", "renamed"), True, "second"),
        ("function", ("app.hidden", "hidden"), False, "app"),
    ]


CLASSES = """
import afield

app = afield.App()

class Model:
    size: int = afield.parameter(default=3)

    @afield.method()
    def run(self, x: int): ...

    @afield.method()
    def stream(self):
        yield 1

Model = app.cls()(Model)
looked_up = afield.Cls.from_name("other", "C")
"""


def test_candidates_of_a_class_are_its_methods(tmp_path: Path) -> None:
    """By the name of the class and theirs; classes that were looked up are not of the module."""
    found, _ = candidates(module(tmp_path, CLASSES, "classes_of_test"))

    owners = ("Model", "app.Model")
    assert [(c.kind, c.names, c.in_module, c.app, c.owners) for c in found] == [
        ("function", ("Model.run", "app.Model.run"), True, "app", owners),
        ("generator", ("Model.stream", "app.Model.stream"), True, "app", owners),
    ]


def test_a_file_is_imported_under_its_stem(tmp_path: Path) -> None:
    """The module has the file's name, can be imported by it, and finds its siblings."""
    (tmp_path / "sibling_of_test.py").write_text("value = 3")
    loaded = module(tmp_path, "import sibling_of_test\nname = __name__\nvalue = sibling_of_test.value")
    assert (loaded.name, loaded.value) == ("loaded_by_test", 3)
    assert sys.modules["loaded_by_test"] is loaded


def test_errors_of_user_code_are_told_apart(tmp_path: Path) -> None:
    """What the module raises is kept as the cause."""
    with pytest.raises(UserCodeError) as caught:
        module(tmp_path, "1 / 0")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


@pytest.mark.parametrize("name", ["json", "afield"])
def test_names_that_are_taken(tmp_path: Path, name: str) -> None:
    """A file that has the name of a module in use is refused: it would hide the module from everybody."""
    assert name in sys.modules
    with pytest.raises(WrongUseError, match=f"has the name of the module '{name}', already imported"):
        module(tmp_path, "", name)
    assert sys.modules["afield"] is afield


def test_missing_modules() -> None:
    """A module that is not there is wrong use, in whatever part of the name."""
    for name in ("no_such_module", "no_such.module", "json.no_such"):
        with pytest.raises(WrongUseError, match="there is no module"):
            load(Ref(None, name, ""))


def test_a_relative_import_without_a_package(tmp_path: Path) -> None:
    """The error of a file in a package tells how to run it as a module."""
    inner = tmp_path / "outer" / "inner"
    inner.mkdir(parents=True)
    for folder in (inner, inner.parent):
        (folder / "__init__.py").touch()
    with pytest.raises(UserCodeError) as caught:
        module(inner, "from . import sibling", "relative_by_test")
    assert caught.value.__cause__ is not None
    (note,) = caught.value.__cause__.__notes__
    assert f"try `afield run -m outer.inner.relative_by_test` in {tmp_path}" in note
