"""Which files of the user's a container needs: the entry file, its package, and the siblings that it imports.

Taken are
- of a module in a package (`-m package.module`): the whole outermost package, data files included;
- of a plain file: the file; if it lies in a package's folder, that folder;
- what these import, wherever the import stands, from their own folder or from a folder that comes before the
  standard library on `sys.path` (the current folder, PYTHONPATH): a file alone, a package as a whole;
- what has been imported already from the entry's folder, or from a folder on `sys.path` below it.

Left out are the standard library, installed packages, virtual environments, caches and hidden files.
"""

import os
import stat
import sys
import sysconfig
import warnings
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Final, NamedTuple

from afield._bundle import MOST_BYTES, MOST_FILES, pack_files, unpack
from afield._imports import find_module, imported_names, is_installed, is_package
from afield.exception import InvalidError

__all__ = ["SourceBundle", "collect", "local_file", "module_name", "pack", "unpack"]

_SKIPPED_FOLDERS: Final = frozenset({"__pycache__", "node_modules", "site-packages", "dist-packages"})
_MOST_VISITED: Final = 10 * MOST_FILES
"""Files of one folder that are looked at before the search is given up."""
_OFFENDERS_SHOWN: Final = 5


class SourceBundle(NamedTuple):
    """The files to ship, and how a container imports the entry."""

    files: dict[str, Path]
    """Path in the bundle (with `/`) to file here."""
    module: str
    """Name under which containers import the entry; also the one to use here."""
    entry: str
    """Path of the entry in the bundle."""
    local_root: str
    """Folder here that the bundle's top stands for."""


def pack(bundle: SourceBundle) -> tuple[str, bytes]:
    """Return the SHA-256 (hex) and the bytes of a bundle: the same for the same files."""
    return pack_files(bundle.files)


def module_name(file: str | os.PathLike[str]) -> str:
    """Return the module name for a file that is run by its path: the stem, made fit for an import."""
    stem = Path(file).name.removesuffix(".py").replace(".", "_")
    return "_main" if stem == "__main__" else stem


def local_file(local_root: str, name: str) -> str:
    """Return the file here that a path in a bundle stands for."""
    return _elsewhere.get((local_root, name)) or os.path.join(local_root, name)


_elsewhere: Final[dict[tuple[str, str], str]] = {}
"""(local root, path in the bundle) to file, for files that were not below the root."""


def collect(entry: str | os.PathLike[str] | ModuleType) -> SourceBundle:
    """Return the source that belongs to an entry: the path of a file, or a module (`__main__` too).

    Raises InvalidError if there is no source file (interactive use), if the file's name hides another module, or if
    the files are more than MOST_FILES or MOST_BYTES; then it names the biggest.
    """
    file, name = _locate(entry)
    package: Path | None
    if name:
        package = _outermost_folder(file, name)
        root = package.parent
    else:
        root = file.parent
        package = root if is_package(root) else None
    module = name or module_name(file)
    # A file that is run needs no suffix and may have dots in its name; to be imported it has to be called by its module.
    place = file.relative_to(root).as_posix() if name else f"{module}.py"
    if not name:
        _check_module_name(module, file)
    collector = _Collector(root, file, place)
    if package is not None:
        collector.take(package, root)
    collector.follow_imports()
    files = collector.files
    _check_size(files, file)
    for path, source in files.items():
        if source != root / path:
            _elsewhere[str(root), path] = str(source)
    return SourceBundle(files, module, place, str(root))


def _locate(entry: str | os.PathLike[str] | ModuleType) -> tuple[Path, str]:
    """Return the absolute path of an entry and its module name; the name is empty for a file outside of packages.

    A top-level module is the same as a file that is run; only a module in a package has more to it.
    """
    if isinstance(entry, ModuleType):
        file = getattr(entry, "__file__", None) or ""
        spec = getattr(entry, "__spec__", None)
        name = spec.name if spec is not None else entry.__name__
    else:
        file, name = os.fspath(entry), ""
    path = Path(os.path.abspath(file))
    if not file or not path.is_file() or path.suffix == ".pyc":
        what = f"the module {entry.__name__!r}" if isinstance(entry, ModuleType) else repr(file)
        raise InvalidError(
            f"{what} has no source file that containers could import. "
            "Put the code into a file, or send functions with serialized=True."
        )
    return path, name if _matches(path, name) and (path.stem == "__init__" or "." in name) else ""


def _matches(path: Path, name: str) -> bool:
    """Tell whether a file lies where the import system would find the module `name`."""
    place = path.parent if path.stem == "__init__" else path.with_suffix("")
    parts = tuple(name.split("."))
    return bool(name) and place.parts[-len(parts) :] == parts


def _outermost_folder(path: Path, name: str) -> Path:
    """Return the folder of the top-level package of module `name`, which is in file `path`."""
    place = path.parent if path.stem == "__init__" else path
    depth = name.count(".")
    return place.parents[depth - 1] if depth else place


def _check_module_name(module: str, file: Path) -> None:
    other = sys.modules.get(module)
    where = getattr(other, "__file__", None)
    if module in sys.builtin_module_names or (
        other is not None and (where is None or not _same_file(Path(where), file))
    ):
        raise InvalidError(
            f"{file} has the name of another module that is imported already, {module!r} "
            f"({where or 'built in'}), so containers could not import it. Rename the file."
        )


def _same_file(one: Path, other: Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


class _Collector:
    """Gathers files below a root folder, and from the other folders that imports come from."""

    def __init__(self, root: Path, entry: Path, place: str) -> None:
        self.files: dict[str, Path] = {place: entry}
        self._root = root
        # An installed entry brings its package along, but not what is installed beside it.
        self._roots = [
            each for each in dict.fromkeys((root, *_import_folders())) if not _is_installed_path(each)
        ]
        self._taken: set[tuple[Path, Path]] = set()
        self._unread: deque[Path] = deque([entry])
        self._names: set[str] = set()

    def take(self, path: Path, root: Path) -> None:
        """Take a file, or all files of a folder; `root` is the folder that stands for the bundle's top."""
        if (path, root) in self._taken:
            return
        self._taken.add((path, root))
        for file in _files_in(path) if path.is_dir() else (path,):
            name = file.relative_to(root).as_posix()
            if name not in self.files:
                self.files[name] = file
                if file.suffix == ".py":
                    self._unread.append(file)

    def follow_imports(self) -> None:
        """Take what has been imported, what the files taken so far import, and so on."""
        for name, module in list(sys.modules.items()):
            self._take_loaded(name, module)
        while self._unread:
            file = self._unread.popleft()
            for name in sorted(imported_names(_read(file)) - self._names):
                self._names.add(name)
                self._take_import(name)

    def _take_import(self, name: str) -> None:
        top = name.partition(".")[0]
        if _is_afield(top) or top in sys.builtin_module_names:
            return
        for root in self._roots:
            found = find_module(root, name)
            if found is None or _is_left_out(found, root) or _is_hidden_by_loaded(top, root):
                continue
            # Python prefers a regular package anywhere on sys.path to a folder without __init__.py.
            in_namespace = found.parent != root
            if in_namespace and top not in sys.modules and is_installed(top):
                continue
            self.take(found, root)
            return

    def _take_loaded(self, name: str, module: ModuleType) -> None:
        file = getattr(module, "__file__", None)
        if not isinstance(file, str) or not _matches(Path(file), name) or _is_afield(name.partition(".")[0]):
            return
        path = Path(os.path.abspath(file))
        package = _outermost_folder(path, name)
        root = package.parent
        if root not in self._roots or not path.is_relative_to(self._root) or _is_left_out(path, root):
            return
        found = _outermost_package(path, root)
        self.take(found, root)
        # The user's code may have put a folder below the root on sys.path, relative to its own place.
        self.take(found, self._root)


def _is_afield(top: str) -> bool:
    return top == "afield" or top.startswith("afield_")


def _import_folders() -> Iterator[Path]:
    """Yield the folders that come before the standard library on sys.path."""
    for each in sys.path:
        folder = Path(os.path.abspath(each))
        if _is_installed_path(folder) or each.endswith(".zip"):
            return
        if folder.is_dir():
            yield folder


_INSTALLED: Final = tuple(
    {
        os.path.realpath(sysconfig.get_path(kind)) + os.sep
        for kind in ("stdlib", "platstdlib", "purelib", "platlib")
        if sysconfig.get_path(kind)
    }
)
_OURS: Final = os.path.dirname(os.path.realpath(__file__)) + os.sep


def _is_installed_path(path: Path) -> bool:
    return (os.path.realpath(path) + os.sep).startswith((*_INSTALLED, _OURS))


def _is_left_out(path: Path, root: Path) -> bool:
    """Tell whether `path`, below `root`, belongs to something that is installed, hidden or a cache."""
    parts = path.relative_to(root).parts
    if _is_installed_path(path) and not _is_installed_path(root):
        return True
    folders = [root.joinpath(*parts[:depth]) for depth in range(1, len(parts))]
    return any(map(_is_skipped, folders)) or parts[-1].startswith(".")


def _is_skipped(folder: Path) -> bool:
    return folder.name.startswith(".") or folder.name in _SKIPPED_FOLDERS or (folder / "pyvenv.cfg").exists()


def _is_hidden_by_loaded(top: str, root: Path) -> bool:
    """Tell whether `top` is imported already, from elsewhere than below `root`."""
    module = sys.modules.get(top)
    if module is None:
        return False
    file = getattr(module, "__file__", None)
    if isinstance(file, str):
        return not Path(os.path.abspath(file)).is_relative_to(root)
    places = [Path(os.path.abspath(each)) for each in getattr(module, "__path__", ())]
    return root / top not in places


def _outermost_package(path: Path, root: Path) -> Path:
    """Return the folder of the outermost package that holds a file below `root`; the file itself if none does."""
    found = path
    for folder in path.parents:
        if folder == root or not is_package(folder):
            break
        found = folder
    return found


def _files_in(folder: Path) -> list[Path]:
    """Return the plain files below a folder, links followed, each folder once."""
    seen: set[tuple[int, int]] = set()
    waiting = [folder]
    files: list[Path] = []
    while waiting:
        current = waiting.pop()
        info = current.stat()
        if (info.st_dev, info.st_ino) in seen:
            continue
        seen.add((info.st_dev, info.st_ino))
        for path in _list(current):
            if path.is_dir():
                if not _is_skipped(path):
                    waiting.append(path)
            elif not path.name.startswith(".") and path.suffix != ".pyc" and _is_plain_file(path):
                files.append(path)
        if len(files) > _MOST_VISITED:
            sizes = {path.relative_to(folder.parent).as_posix(): _size(path) for path in files}
            raise InvalidError(
                f"{folder} holds more than {_MOST_VISITED:,} files; at most {MOST_FILES:,} can be shipped as source. "
                f"The biggest so far: {_offenders(sizes)}. {_ADVICE}"
            )
    return files


def _list(folder: Path) -> Iterable[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        warnings.warn(f"{folder} is not shipped: {error.strerror}", UserWarning, stacklevel=2)
        return ()


def _is_plain_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:  # a link to nowhere, or gone in the meantime
        return False


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise InvalidError(f"cannot ship {str(file)!r}: {error.strerror or error}") from error


_ADVICE: Final = (
    "Keep data out of the package's folder, or send functions with serialized=True and include_source=False."
)


def _check_size(files: dict[str, Path], entry: Path) -> None:
    sizes = {name: _size(path) for name, path in files.items()}
    total = sum(sizes.values())
    if len(files) <= MOST_FILES and total <= MOST_BYTES:
        return
    raise InvalidError(
        f"the source that belongs to {entry} is {len(files):,} files and {total / 2**20:,.1f} MiB; at most "
        f"{MOST_FILES:,} files and {MOST_BYTES / 2**20:.0f} MiB can be shipped. The biggest: {_offenders(sizes)}. "
        f"{_ADVICE}"
    )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise InvalidError(f"cannot ship {str(path)!r}: {error.strerror or error}") from error


def _offenders(sizes: dict[str, int]) -> str:
    """Return the biggest files and the folders with most files, for people."""
    biggest = sorted(sizes, key=lambda name: -sizes[name])[:_OFFENDERS_SHOWN]
    counts = Counter(str(PurePosixPath(name).parent) for name in sizes)
    crowded = [f"{folder}/ ({count:,} files)" for folder, count in counts.most_common(2)]
    return ", ".join([f"{name} ({sizes[name] / 2**20:,.1f} MiB)" for name in biggest] + crowded)
