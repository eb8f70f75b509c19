"""Tests of afield._source: which files are shipped, packed and unpacked."""

import gzip
import importlib.util
import io
import os
import subprocess
import sys
import tarfile
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from afield import _bundle, _source
from afield._source import SourceBundle, collect, local_file, module_name, pack, unpack
from afield.exception import DataLossError, InvalidError

Tree = Callable[..., Path]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Return a function that writes files (`path=contents`, or names of files with nothing in them) below a folder."""

    def write(files: dict[str, str | bytes]) -> Path:
        root = tmp_path / "project"
        for name, contents in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(contents if isinstance(contents, bytes) else contents.encode())
        return root

    return write


@pytest.fixture
def modules() -> Iterator[None]:
    """Forget the modules that a test imports, and what it does to sys.path."""
    before, path = set(sys.modules), list(sys.path)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def load(name: str, file: Path) -> types.ModuleType:
    """Import a file under a name, as the interpreter would."""
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def names(bundle: SourceBundle) -> list[str]:
    return sorted(bundle.files)


# -- a plain file -------------------------------------------------------------------------------------


def test_file_alone(tree: Tree) -> None:
    """A script that imports nothing of its own is shipped alone, whatever lies beside it."""
    root = tree({"job.py": "import json, os.path\n", "other.py": "", "data.csv": "1"})
    assert collect(root / "job.py") == SourceBundle({"job.py": root / "job.py"}, "job", "job.py", str(root))


def test_siblings_that_are_imported(tree: Tree) -> None:
    """Siblings come along wherever the import stands, and what they import in turn."""
    root = tree(
        {
            "job.py": "def f():\n    import near\n\nclass A:\n    from late import x as y\n",
            "near.py": "import importlib\nimportlib.import_module('by_name')\n",
            "late.py": "try:\n    import far as f\nexcept ImportError:\n    import nowhere\n",
            "far.py": "",
            "by_name.py": "",
            "unused.py": "",
        }
    )
    assert names(collect(root / "job.py")) == ["by_name.py", "far.py", "job.py", "late.py", "near.py"]


def test_sibling_packages_are_whole(tree: Tree) -> None:
    """Of an imported package everything is shipped, data too, but no caches, hidden files or environments."""
    root = tree(
        {
            "job.py": "from tools.deep.calc import add\n",
            "tools/__init__.py": "",
            "tools/deep/__init__.py": "",
            "tools/deep/calc.py": "import near\n",
            "tools/data/table.csv": "1,2",
            "tools/__pycache__/calc.cpython-311.pyc": b"x",
            "tools/.secret": "x",
            "tools/.git/config": "x",
            "tools/env/pyvenv.cfg": "",
            "tools/env/lib/big.py": "",
            "near.py": "",
        }
    )
    assert names(collect(root / "job.py")) == [
        "job.py",
        "near.py",
        "tools/__init__.py",
        "tools/data/table.csv",
        "tools/deep/__init__.py",
        "tools/deep/calc.py",
    ]


def test_namespace_folders_give_what_is_imported(tree: Tree) -> None:
    """Of a folder without __init__.py only the modules that are imported are shipped."""
    root = tree(
        {
            "job.py": "from space import one\nimport space.inner.two\nfrom space.pkg import three\n",
            "space/one.py": "",
            "space/unused.py": "",
            "space/inner/two.py": "",
            "space/pkg/__init__.py": "",
            "space/pkg/three.py": "",
        }
    )
    assert names(collect(root / "job.py")) == [
        "job.py",
        "space/inner/two.py",
        "space/one.py",
        "space/pkg/__init__.py",
        "space/pkg/three.py",
    ]


def test_installed_package_beats_a_folder_of_its_name(tree: Tree) -> None:
    """A folder without __init__.py does not stand for an installed package of the same name, as in Python."""
    root = tree(
        {
            "job.py": "import wheel_like\nimport xml.dom\nimport wsgiref.thing\n",
            "wsgiref/thing.py": "",
            "xml/dom.py": "",
        }
    )
    assert names(collect(root / "job.py")) == ["job.py"]


def test_loaded_module_beats_a_file_of_its_name(tree: Tree) -> None:
    """A sibling that has the name of a module which is imported from elsewhere is not what gets imported."""
    root = tree({"job.py": "import json, afield\n", "json.py": "", "afield.py": ""})
    assert names(collect(root / "job.py")) == ["job.py"]


def test_what_is_imported_already(tree: Tree, modules: None) -> None:
    """Modules that were imported from the entry's folder come along, though no import names them."""
    root = tree({"job.py": "", "plugin.py": "", "kit/__init__.py": "", "kit/a.py": "", "other.py": ""})
    sys.path.insert(0, str(root))
    for name in ("plugin", "kit.a"):
        importlib.import_module(name)
    assert names(collect(root / "job.py")) == ["job.py", "kit/__init__.py", "kit/a.py", "plugin.py"]


def test_what_is_loaded_from_elsewhere_below(tree: Tree, modules: None) -> None:
    """A module below the entry's folder that was not found through sys.path's front is not ours to ship."""
    root = tree({"job.py": "", "src/other_project/big.py": ""})
    load("big", root / "src/other_project/big.py")
    assert names(collect(root / "job.py")) == ["job.py"]


def test_other_import_folders(tree: Tree, modules: None) -> None:
    """Imports are followed into the folders in front of sys.path; tracebacks find these files again."""
    root = tree(
        {"app/job.py": "from shared import util\n", "lib/shared/__init__.py": "", "lib/shared/util.py": ""}
    )
    sys.path.insert(0, str(root / "lib"))
    bundle = collect(root / "app/job.py")
    assert names(bundle) == ["job.py", "shared/__init__.py", "shared/util.py"]
    assert local_file(bundle.local_root, "shared/util.py") == str(root / "lib/shared/util.py")
    assert local_file(bundle.local_root, "job.py") == str(root / "app/job.py")


def test_folder_that_the_code_puts_on_the_path(tree: Tree, modules: None) -> None:
    """A folder below the entry that user code put on sys.path keeps its place, so that the code finds it again."""
    root = tree({"job.py": "", "lib/helper.py": ""})
    sys.path.insert(0, str(root / "lib"))
    importlib.import_module("helper")
    assert names(collect(root / "job.py")) == ["helper.py", "job.py", "lib/helper.py"]


def test_file_in_a_package_folder(tree: Tree) -> None:
    """A file that is run by its path, inside a package, brings its folder along under the same paths."""
    root = tree(
        {"pkg/__init__.py": "", "pkg/job.py": "", "pkg/near.py": "", "pkg/table.csv": "", "other.py": ""}
    )
    bundle = collect(root / "pkg/job.py")
    assert (bundle.module, bundle.entry, bundle.local_root) == ("job", "job.py", str(root / "pkg"))
    assert names(bundle) == ["__init__.py", "job.py", "near.py", "table.csv"]


def test_syntax_errors_are_shipped(tree: Tree) -> None:
    """A file that is no valid Python is shipped as it is: whoever imports it gets the error."""
    root = tree(
        {
            "job.py": "import broken, odd, nul\n",
            "broken.py": "def (:\n",
            "odd.py": b"# \xff\n",
            "nul.py": b"\0",
        }
    )
    assert names(collect(root / "job.py")) == ["broken.py", "job.py", "nul.py", "odd.py"]


def test_relative_imports_of_a_script(tree: Tree) -> None:
    """A relative import names nothing beside a plain script."""
    root = tree({"job.py": "from . import near\nfrom .far import x\n", "near.py": "", "far.py": ""})
    assert names(collect(root / "job.py")) == ["job.py"]


@pytest.mark.parametrize(
    ("file", "module"), [("my-job.py", "my-job"), ("2024.report.py", "2024_report"), ("tool", "tool")]
)
def test_file_names_that_are_no_module_names(tree: Tree, file: str, module: str) -> None:
    """Any file can be the entry: in the bundle it has a name under which it can be imported."""
    root = tree({file: "import near\n", "near.py": ""})
    bundle = collect(root / file)
    assert module_name(file) == module
    assert (bundle.module, bundle.entry) == (module, f"{module}.py")
    assert bundle.files == {f"{module}.py": root / file, "near.py": root / "near.py"}
    assert local_file(bundle.local_root, bundle.entry) == str(root / file)


def test_name_that_hides_a_module(tree: Tree) -> None:
    """A script that is called like a module in use is refused, with advice."""
    root = tree({"json.py": ""})
    with pytest.raises(InvalidError, match=r"json.py has the name of another module .*Rename the file"):
        collect(root / "json.py")


# -- a module in a package ----------------------------------------------------------------------------

PACKAGE: dict[str, str | bytes] = {
    "pkg/__init__.py": "",
    "pkg/sub/__init__.py": "",
    "pkg/sub/job.py": "from ..data import table\nimport beside\n",
    "pkg/data/table.json": "{}",
    "pkg/__main__.py": "",
    "beside.py": "",
    "unrelated.py": "",
}


def test_module_in_a_package(tree: Tree, modules: None) -> None:
    """With `-m package.module` the outermost package goes along as a whole, and what it imports beside it."""
    root = tree({**PACKAGE, "pkg/sub/job.py": "import beside\n"})
    sys.path.insert(0, str(root))
    bundle = collect(importlib.import_module("pkg.sub.job"))
    assert (bundle.module, bundle.entry, bundle.local_root) == ("pkg.sub.job", "pkg/sub/job.py", str(root))
    assert names(bundle) == [
        "beside.py",
        "pkg/__init__.py",
        "pkg/__main__.py",
        "pkg/data/table.json",
        "pkg/sub/__init__.py",
        "pkg/sub/job.py",
    ]


def test_package_itself(tree: Tree, modules: None) -> None:
    """A package can be the entry; its file is the __init__.py."""
    root = tree({"pkg/__init__.py": "", "pkg/a.py": ""})
    sys.path.insert(0, str(root))
    bundle = collect(importlib.import_module("pkg"))
    assert (bundle.module, bundle.entry, names(bundle)) == (
        "pkg",
        "pkg/__init__.py",
        ["pkg/__init__.py", "pkg/a.py"],
    )


def test_top_level_module(tree: Tree, modules: None) -> None:
    """A top-level module is the same as its file."""
    root = tree({"job_x.py": "import near\n", "near.py": ""})
    sys.path.insert(0, str(root))
    assert collect(importlib.import_module("job_x")) == collect(root / "job_x.py")


def test_package_without_init(tree: Tree, modules: None) -> None:
    """The entry's package may be a folder without __init__.py, and is shipped as a whole as well."""
    root = tree({"jobs/train.py": "", "jobs/settings.toml": ""})
    sys.path.insert(0, str(root))
    bundle = collect(importlib.import_module("jobs.train"))
    assert (bundle.module, names(bundle)) == ("jobs.train", ["jobs/settings.toml", "jobs/train.py"])


REPORT = """
import sys
from afield._source import collect
if __name__ == "__main__":
    bundle = collect(sys.modules["__main__"])
    print(bundle.module, bundle.entry, *sorted(bundle.files))
"""


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["-m", "pkg.job"], "pkg.job pkg/job.py pkg/__init__.py pkg/__main__.py pkg/job.py"),
        (["-m", "pkg"], "pkg.__main__ pkg/__main__.py pkg/__init__.py pkg/__main__.py pkg/job.py"),
        (["pkg/job.py"], "job job.py __init__.py __main__.py job.py"),
        (["top.py"], "top top.py top.py"),
        (["-m", "top"], "top top.py top.py"),
    ],
)
def test_main_module(tree: Tree, command: list[str], said: str) -> None:
    """However Python was started, `__main__` is shipped under the name that it has for imports."""
    root = tree({"pkg/__init__.py": "", "pkg/job.py": REPORT, "pkg/__main__.py": REPORT, "top.py": REPORT})
    done = subprocess.run([sys.executable, *command], cwd=root, capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == (said, "")


def test_no_source() -> None:
    """Interactive code has no source to ship, and is told what to do."""
    with pytest.raises(InvalidError, match=r"'__main__' has no source file .* serialized=True"):
        collect(types.ModuleType("__main__"))
    with pytest.raises(InvalidError, match=r"'nowhere.py' has no source file"):
        collect("nowhere.py")


# -- odd folders --------------------------------------------------------------------------------------


def test_symbolic_links(tree: Tree, tmp_path: Path) -> None:
    """Links to files and folders are followed, also in circles; links to nowhere are left out."""
    root = tree({"job.py": "import pkg, linked\n", "pkg/__init__.py": ""})
    outside = tmp_path / "outside"
    (outside / "folder").mkdir(parents=True)
    (outside / "linked.py").touch()
    (outside / "folder" / "more.py").touch()
    (root / "linked.py").symlink_to(outside / "linked.py")
    (root / "pkg" / "more").symlink_to(outside / "folder")
    (root / "pkg" / "loop").symlink_to(root / "pkg")
    (root / "pkg" / "nowhere.py").symlink_to(root / "gone")
    assert names(collect(root / "job.py")) == ["job.py", "linked.py", "pkg/__init__.py", "pkg/more/more.py"]


def test_special_files_are_left_out(tree: Tree) -> None:
    """A pipe in a package is not waited for."""
    root = tree({"job.py": "import pkg\n", "pkg/__init__.py": ""})
    os.mkfifo(root / "pkg" / "pipe")
    assert names(collect(root / "job.py")) == ["job.py", "pkg/__init__.py"]


def test_names_that_are_not_utf8(tree: Tree, tmp_path: Path) -> None:
    """File names of any bytes survive packing and unpacking."""
    root = tree({"job.py": "import pkg\n", "pkg/__init__.py": "", "pkg/größe.txt": "1"})
    odd = os.fsdecode(b"caf\xe9 \xff.txt")
    (root / "pkg" / odd).write_text("2")
    unpack(pack(collect(root / "job.py"))[1], tmp_path / "home")
    assert (tmp_path / "home" / "pkg" / odd).read_text() == "2"
    assert (tmp_path / "home" / "pkg" / "größe.txt").read_text() == "1"


def test_file_that_cannot_be_read(tree: Tree) -> None:
    """A file that is gone or unreadable when it is packed is named."""
    root = tree({"job.py": "import near\n", "near.py": ""})
    bundle = collect(root / "job.py")
    (root / "near.py").unlink()
    with pytest.raises(InvalidError, match=r"cannot ship '.*/near.py': No such file"):
        pack(bundle)


def test_too_many_files(tree: Tree) -> None:
    """A package of too many files is refused, naming the most crowded folders."""
    root = tree({"job.py": "import pkg\n", "pkg/__init__.py": "", "pkg/a.bin": b"x" * 2**20})
    (root / "pkg" / "crowd").mkdir()
    for number in range(_bundle.MOST_FILES):
        (root / "pkg" / "crowd" / f"{number}.txt").touch()
    with pytest.raises(
        InvalidError, match=r"2,003 files .* at most 2,000 files .*a.bin \(1.0 MiB\).*crowd/ \(2,000 files\)"
    ):
        collect(root / "job.py")


def test_too_many_bytes(tree: Tree) -> None:
    """A package of too many bytes is refused, naming the biggest files."""
    root = tree({"job.py": "import pkg\n", "pkg/__init__.py": ""})
    with (root / "pkg" / "model.bin").open("wb") as file:
        file.truncate(_bundle.MOST_BYTES)  # a hole: takes no space
    with pytest.raises(InvalidError, match=r"64.0 MiB; at most .*The biggest: pkg/model.bin \(64.0 MiB\)"):
        collect(root / "job.py")


def test_endless_folder(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """The search of a huge folder is given up, with what was biggest so far."""
    monkeypatch.setattr(_source, "_MOST_VISITED", 3)
    root = tree(
        {"job.py": "import pkg\n", "pkg/__init__.py": "", **{f"pkg/d/{n}.txt": "x" for n in range(5)}}
    )
    with pytest.raises(InvalidError, match=r"pkg holds more than 3 files.*pkg/d/ \(5 files\)"):
        collect(root / "job.py")


def test_huge_folder_around_a_script(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """A script in a huge home folder is shipped without looking through the folder."""
    monkeypatch.setattr(_source, "_list", lambda folder: pytest.fail(f"{folder} was listed"))
    root = tree({"job.py": "import near\n", "near.py": "", **{f"photos/{n}.jpg": "x" for n in range(5)}})
    assert names(collect(root / "job.py")) == ["job.py", "near.py"]


def test_installed_entry(modules: None) -> None:
    """An installed package that is the entry is shipped, but not what is installed beside it."""
    bundle = collect(importlib.import_module("anyio.abc"))
    assert bundle.entry == "anyio/abc/__init__.py"
    assert {name.partition("/")[0] for name in bundle.files} == {"anyio"}


# -- packing ------------------------------------------------------------------------------------------


def test_same_files_same_bytes(tree: Tree) -> None:
    """The digest depends on contents, paths and the executable bit, not on times or the order of files."""
    root = tree({"job.py": "import near\n", "near.py": "x = 1\n"})
    first = pack(collect(root / "job.py"))
    os.utime(root / "near.py", (0, 0))
    bundle = collect(root / "job.py")
    assert pack(bundle) == first
    assert pack(bundle._replace(files=dict(reversed(bundle.files.items())))) == first
    (root / "near.py").chmod(0o755)
    assert pack(bundle)[0] != first[0]


def test_bundle_can_be_imported(tree: Tree, tmp_path: Path) -> None:
    """What was unpacked elsewhere runs there, alone."""
    root = tree(
        {
            "job.py": "from kit import load\nprint(load())\n",
            "kit/__init__.py": "from pathlib import Path\ndef load():\n"
            "    return (Path(__file__).parent / 'words.txt').read_text()\n",
            "kit/words.txt": "from the package",
            "run.sh": "",
        }
    )
    unpack(pack(collect(root / "job.py"))[1], tmp_path / "home")
    done = subprocess.run(
        [sys.executable, "-c", "import job"], cwd=tmp_path / "home", capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("from the package\n", "")


def test_executable_bit_is_kept(tree: Tree, tmp_path: Path) -> None:
    """A tool in a package can still be run, and other files are not made executable."""
    root = tree({"job.py": "import pkg\n", "pkg/__init__.py": "", "pkg/tool.sh": "#!/bin/sh\n"})
    (root / "pkg/tool.sh").chmod(0o700)
    unpack(pack(collect(root / "job.py"))[1], tmp_path / "home")
    assert (tmp_path / "home/pkg/tool.sh").stat().st_mode & 0o100
    assert not (tmp_path / "home/job.py").stat().st_mode & 0o100


def tar(*entries: tarfile.TarInfo) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as made:
        for entry in entries:
            made.addfile(entry, io.BytesIO(b"\0" * entry.size))
    return out.getvalue()


def entry(name: str, kind: bytes = tarfile.REGTYPE, target: str = "", size: int = 0) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.size = kind, target, size
    return made


@pytest.mark.parametrize(
    "data",
    [
        tar(entry("../out.py")),
        tar(entry("a/../../out.py")),
        tar(entry("/out.py")),
        tar(entry("link", tarfile.SYMTYPE, "/etc")),
        tar(entry("link", tarfile.LNKTYPE, "/etc/passwd")),
        tar(entry("dev", tarfile.CHRTYPE)),
        tar(entry("big", size=_bundle.MOST_BYTES + 1)),
        tar(*(entry(str(n)) for n in range(_bundle.MOST_FILES + 1))),
        b"",
        b"rubbish",
        gzip.compress(b"rubbish"),
        tar(entry("a.py", size=100_000))[:-20],
    ],
    ids=[
        "parent",
        "parent-inside",
        "absolute",
        "symlink",
        "hard-link",
        "device",
        "too-big",
        "too-many",
        "empty",
        "rubbish",
        "compressed-rubbish",
        "cut-short",
    ],
)
def test_hostile_bundles_are_refused(data: bytes, tmp_path: Path) -> None:
    """Nothing outside of the folder can be written, no link made, no disk filled; damage is told."""
    home = tmp_path / "inner" / "home"
    with pytest.raises(DataLossError, match="source bundle"):
        unpack(data, home)
    assert [
        path for path in (tmp_path / "inner").rglob("*") if path.is_symlink() or path.name == "out.py"
    ] == []
    assert not Path("/out.py").exists()


def test_nothing_is_overwritten(tree: Tree, tmp_path: Path) -> None:
    """A file, or a link that somebody laid, at the place of one of ours is an error."""
    data = pack(collect(tree({"job.py": "new"}) / "job.py"))[1]
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "job.py").symlink_to(tmp_path / "victim")
    with pytest.raises(FileExistsError):
        unpack(data, tmp_path / "home")
    assert not (tmp_path / "victim").exists()
