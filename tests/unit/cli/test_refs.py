"""References: how they are read, and what they choose."""

from pathlib import Path

import pytest

from afield.cli.errors import WrongUseError
from afield.cli.refs import Candidate, Kind, Ref, choose, parse


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a script in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "script.py").touch()
    (tmp_path / "a.b.py").touch()
    (tmp_path / "folder.py").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("text", "as_module", "ref"),
    [
        ("script.py", False, Ref(Path("script.py"), "", "")),
        ("script.py::f", False, Ref(Path("script.py"), "", "f")),
        ("script.py::app.f", False, Ref(Path("script.py"), "", "app.f")),
        ("-", False, Ref(Path("-"), "", "")),
        ("-::f", False, Ref(Path("-"), "", "f")),
        ("pkg.mod", True, Ref(None, "pkg.mod", "")),
        ("pkg.mod::app.f", True, Ref(None, "pkg.mod", "app.f")),
    ],
)
def test_good_references(text: str, as_module: bool, ref: Ref) -> None:
    """A reference is a file or a module, with or without a name."""
    assert parse(text, as_module=as_module) == ref


@pytest.mark.parametrize(
    ("text", "as_module", "reason"),
    [
        ("script.py:f", False, r"single ':'.*script\.py::f"),
        ("script.py::", False, "ends in '::'"),
        ("::f", False, "names no file"),
        ("script", False, "does not end in .py.*-m script"),
        ("pkg.mod::f", False, "-m pkg.mod::f"),
        ("a.b.py", False, r"further '\.'"),
        ("scrpt.py", False, "no file 'scrpt.py'; did you mean 'script.py'"),
        ("other/none.py", False, "no file 'other/none.py'"),
        ("folder.py", False, "not a file"),
        ("script.py", True, "-m takes a module"),
        ("pkg.mod:f", True, "pkg.mod::f"),
        ("pkg..mod", True, "cannot be the name of a module"),
    ],
)
def test_bad_references(text: str, as_module: bool, reason: str) -> None:
    """What is wrong with a reference is said in one sentence, with the way out."""
    with pytest.raises(WrongUseError, match=reason) as caught:
        parse(text, as_module=as_module)
    assert "\n" not in caught.value.message


def made(*names: str, kind: Kind = "function", in_module: bool = True, app: str = "app") -> Candidate:
    """A candidate; its target is its name."""
    return Candidate(kind, names, in_module, names[0], app)


MAIN = made("main", "app.main", kind="entrypoint")
OTHER_MAIN = made("other_main", "app.other_main", kind="entrypoint")
F, G = made("f", "app.f"), made("g", "app.g")
GEN = made("gen", "app.gen", kind="generator")
HIDDEN = made("app.hidden", "hidden", in_module=False)
HIDDEN_MAIN = made("app.start", "start", kind="entrypoint", in_module=False)


def chosen(name: str, *candidates: Candidate, apps: tuple[str, ...] = ("app",)) -> str:
    """The name of what a reference chooses."""
    return choose(Ref(Path("s.py"), "", name), candidates, apps).name


@pytest.mark.parametrize(
    ("candidates", "name"),
    [
        ((MAIN,), "main"),
        ((F,), "f"),
        ((F, G, MAIN), "main"),
        ((F, HIDDEN_MAIN), "f"),
        ((HIDDEN, HIDDEN_MAIN), "app.start"),
        ((GEN, HIDDEN), "app.hidden"),
        ((F, GEN), "f"),
    ],
)
def test_the_choice_without_a_name(candidates: tuple[Candidate, ...], name: str) -> None:
    """Entrypoints go before functions, the module's before those that only an app knows; generators are left out."""
    assert chosen("", *candidates) == name


@pytest.mark.parametrize("name", ["f", "app.f"])
def test_an_explicit_choice(name: str) -> None:
    """A function can be named alone or after its app."""
    assert chosen(name, F, G, MAIN) == "f"


def test_an_app_as_the_choice() -> None:
    """The name of an app limits the choice to it."""
    other = made("h", "second.h", app="second")
    assert chosen("second", F, G, other, apps=("app", "second")) == "h"


@pytest.mark.parametrize(
    ("name", "candidates", "reason"),
    [
        ("", (F, G), "2 functions; say which one to run: s.py::f, s.py::g$"),
        ("", (MAIN, OTHER_MAIN, F), "2 local entrypoints.*s.py::main, s.py::other_main$"),
        ("", (GEN,), "s.py::gen is a generator"),
        ("gen", (GEN, F), "is a generator.*remote_gen"),
        ("mian", (MAIN, F), "nothing named 'mian' to run; did you mean s.py::main?"),
        ("zzz", (MAIN, F), "nothing named 'zzz' to run; there is s.py::main, s.py::f"),
        ("", (), "has an app .app., but nothing to run"),
    ],
)
def test_choices_that_cannot_be_made(name: str, candidates: tuple[Candidate, ...], reason: str) -> None:
    """An ambiguous or empty choice is an error that lists the candidates."""
    with pytest.raises(WrongUseError, match=reason):
        chosen(name, *candidates)


def test_no_app() -> None:
    """A module without an app is told apart."""
    with pytest.raises(WrongUseError, match=r"s\.py has no app"):
        chosen("", apps=())


def test_an_empty_app() -> None:
    """An app without anything to run is told apart from its neighbours."""
    with pytest.raises(WrongUseError, match=r"s\.py::second has nothing to run"):
        chosen("second", F, apps=("app", "second"))


def method(name: str, *, kind: Kind = "function") -> Candidate:
    """A method of the class Model."""
    owners = ("Model", "app.Model")
    return Candidate(kind, tuple(f"{owner}.{name}" for owner in owners), True, None, "app", owners)


RUN, OTHER_RUN, STREAM = method("run"), method("other"), method("stream", kind="generator")


@pytest.mark.parametrize("name", ["", "Model", "app.Model", "Model.run", "app.Model.run", "app"])
def test_the_only_method_needs_no_name(name: str) -> None:
    """Nor does it beside a generator; its class will do, too."""
    assert chosen(name, RUN, STREAM) == "Model.run"


@pytest.mark.parametrize(
    ("name", "candidates", "reason"),
    [
        (
            "Model",
            (RUN, OTHER_RUN, F),
            "2 methods; say which one to run: s.py::Model.run, s.py::Model.other$",
        ),
        ("", (RUN, F), "2 functions and methods; say which"),
        ("Model.rum", (RUN, F), "did you mean s.py::Model.run"),
        ("Model.stream", (RUN, STREAM), "is a generator"),
        ("Model", (STREAM,), "is a generator"),
    ],
)
def test_choices_of_methods_that_cannot_be_made(
    name: str, candidates: tuple[Candidate, ...], reason: str
) -> None:
    """As for functions."""
    with pytest.raises(WrongUseError, match=reason):
        chosen(name, *candidates)
