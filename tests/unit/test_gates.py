"""House rules that no linter knows: who may import whom, what no file may name, how long a file may be."""

import ast
import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from afield._guest import preload

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ("gateway", "platform", "registry", "scheduler", "worker")
PACKAGES = {
    "afield": ROOT / "client/afield",
    "afield_common": ROOT / "services/common/afield_common",
    **{f"afield_{name}": ROOT / f"services/{name}/afield_{name}" for name in SERVICES},
}
MAX_LINES = 600
NOT_OURS = {".git", ".venv", "build", "dist", "__pycache__"}

# Package registries, spelt so that this file does not name one.
HOSTS = [
    "py" + "pi.org",
    "python" + "hosted.org",
    "debian" + ".org",
    "npm" + "js.org",
    "crates" + ".io",
    "golang" + ".org",
    "rubygems" + ".org",
    "conda" + ".org",
    "anaconda" + ".com",
]
MACHINE_PATHS = [r"/" + "work/", r"/" + "root/", r"/" + "tmp/v/", r"/" + "farm/", r"/opt/" + "(pypi|wheels)"]


def files(*suffixes: str) -> Iterator[Path]:
    """Yield the project's text files, all or those with one of the suffixes."""
    for root, folders, names in os.walk(ROOT):
        caches = {name for name in folders if Path(root) == ROOT and _is_cache(name)}
        folders[:] = sorted({*folders} - NOT_OURS - caches)
        for path in (Path(root, name) for name in sorted(names)):
            if not suffixes or path.suffix in suffixes:
                yield path


def _is_cache(folder: str) -> bool:
    return folder.startswith(".") and folder.endswith(("_cache", "hypothesis"))


def text_of(path: Path) -> str:
    return path.read_bytes().decode("utf-8", errors="replace")


def imports_of(path: Path, module: str) -> set[str]:
    """Return the full names of all modules that a file imports, at the top or inside functions."""
    found: set[str] = set()
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(text_of(path))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base]).rstrip(".")
            # `from afield import _wire` imports a module too: keep both readings.
            found.update({base, *(f"{base}.{alias.name}" for alias in node.names)})
    return found


def modules() -> Iterator[tuple[str, Path]]:
    for package, folder in PACKAGES.items():
        for path in sorted(folder.rglob("*.py")):
            parts = [package, *path.relative_to(folder).with_suffix("").parts]
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def within(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)


def allowed(module: str) -> tuple[str, ...]:
    """Return the packages of ours that a module may import."""
    if within(module, "afield._wire"):
        return ("afield._wire",)
    if within(module, "afield._bus"):
        return ("afield._wire", "afield._bus")
    if within(module, "afield"):
        return ("afield",)
    if within(module, "afield_common"):
        return ("afield", "afield_common")
    if module == "afield_platform.serve":  # composes the services in one process
        return tuple(PACKAGES)
    return ("afield", "afield_common", module.partition(".")[0])


def test_imports_point_one_way() -> None:
    """_wire <- _bus <- afield <- afield_common <- each service, and no service imports another."""
    wrong = [
        f"{module} imports {name}"
        for module, path in modules()
        for name in sorted(imports_of(path, module))
        if within(name, *PACKAGES) and name != "afield" and not within(name, *allowed(module))
    ]

    assert wrong == []


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import afield_worker.pool", "afield_worker.pool"),
        ("from afield import _bus", "afield._bus"),
        ("from ..other import x", "a.other"),
        ("def f():\n    from . import y", "a.b.y"),
    ],
)
def test_the_import_reader_sees_every_form(tmp_path: Path, source: str, expected: str) -> None:
    """Absolute, relative and nested imports are all found, so the rule above cannot be passed by spelling."""
    file = tmp_path / "c.py"
    file.write_text(source)

    assert expected in imports_of(file, "a.b.c")


def test_what_is_imported_is_declared() -> None:
    """Every package that the sources import, and that the template loads by name, is a requirement in pyproject.toml."""
    project = tomllib.loads(text_of(ROOT / "pyproject.toml"))["project"]
    declared = {canonicalize_name(Requirement(line).name) for line in project["dependencies"]}
    roots = {name.partition(".")[0] for module, path in modules() for name in imports_of(path, module)}
    roots |= {name.partition(".")[0] for name in preload.MODULES}
    foreign = roots - {"", "_typeshed"} - set(sys.stdlib_module_names) - set(PACKAGES)
    providers = importlib.metadata.packages_distributions()

    undeclared = {
        name for name in foreign if not declared & {canonicalize_name(d) for d in providers.get(name, ())}
    }

    assert undeclared == set()


def test_the_guest_is_light() -> None:
    """Importing everything in the guest loads no settings, logging or HTTP framework, and no service."""
    names = [
        module for module, _ in modules() if within(module, "afield._guest") and "__main__" not in module
    ]
    heavy = [
        "pydantic",
        "structlog",
        "starlette",
        "uvicorn",
        "rich",
        "click",
        "prometheus_client",
        "podman",
        "afield_common",
    ]
    code = "import sys, importlib\nfor name in sys.argv[1:]: importlib.import_module(name)\n"
    code += f"print(*[name for name in {heavy} if name in sys.modules])"

    loaded = subprocess.run([sys.executable, "-c", code, *names], capture_output=True, text=True, check=True)

    assert loaded.stdout.split() == []


def test_no_file_is_too_long() -> None:
    """A source file has at most 600 lines: one that grows past it owns two nouns."""
    long = {str(p.relative_to(ROOT)): n for p in files(".py") if (n := text_of(p).count("\n")) > MAX_LINES}

    assert long == {}


@pytest.mark.parametrize("call", ["asyncio.create_task(f())", "asyncio.ensure_future(f())"])
def test_the_linter_refuses_tasks_without_an_owner(call: str) -> None:
    """Ruff's configuration in this project really bans bare tasks."""
    code = f"import asyncio\n\n\nasync def f() -> None:\n    await {call}\n"
    command = [sys.executable, "-m", "ruff", "check", "--stdin-filename", "client/afield/x.py", "-"]

    found = subprocess.run(command, input=code, capture_output=True, text=True, cwd=ROOT)

    assert "TID251" in found.stdout


def test_no_task_is_started_on_a_bare_loop() -> None:
    """The linter knows the functions of asyncio only; the same through a loop object is banned as well."""
    bare = re.compile(r"\bloop(\(\))?\.create_task\(")
    wrong = [f"{p.relative_to(ROOT)}" for _, p in modules() if bare.search(text_of(p))]

    assert wrong == []


def test_no_file_names_a_package_registry() -> None:
    """Where packages come from is the user's configuration: no file of ours says it."""
    hosts = re.compile("|".join(map(re.escape, HOSTS)), re.IGNORECASE)
    wrong = [str(path.relative_to(ROOT)) for path in files() if hosts.search(text_of(path))]

    assert wrong == []


def test_no_file_names_a_folder_of_one_machine() -> None:
    """A clone works anywhere, so nothing may point at a folder of the machine it was written on."""
    paths = re.compile("|".join(MACHINE_PATHS))
    wrong = [str(path.relative_to(ROOT)) for path in files() if paths.search(text_of(path))]

    assert wrong == []


def links() -> Iterator[tuple[Path, str]]:
    for page in files(".md"):
        prose = re.sub(r"```.*?```", "", text_of(page), flags=re.DOTALL)
        for target in re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", prose):
            yield page, target


def test_relative_links_lead_somewhere() -> None:
    """Every relative link in a Markdown page names a file that is there."""
    wrong = [
        f"{page.relative_to(ROOT)}: {target}"
        for page, target in links()
        if not re.match(r"[a-z]+:|#", target) and not (page.parent / target.partition("#")[0]).exists()
    ]

    assert wrong == []


def pins(lock: str) -> dict[str, str]:
    return dict(re.findall(r"^([A-Za-z0-9._-]+)==([^\s;]+)", text_of(ROOT / lock), re.MULTILINE))


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_the_lock_files_satisfy_the_project(lock: str) -> None:
    """Each lock file pins every requirement of pyproject.toml to a version that meets it."""
    project = tomllib.loads(text_of(ROOT / "pyproject.toml"))
    wanted = [*project["project"]["dependencies"], *project["build-system"]["requires"]]
    if lock == "requirements-dev.lock":
        wanted += project["dependency-groups"]["dev"]
    locked = pins(lock)
    requirements = [Requirement(line) for line in wanted]

    wrong = [str(r) for r in requirements if locked.get(canonicalize_name(r.name), "0") not in r.specifier]

    assert wrong == []


def test_both_lock_files_agree() -> None:
    """The tests run on the versions that users of `make demo` get."""
    runtime, dev = pins("requirements.lock"), pins("requirements-dev.lock")

    assert {name: dev.get(name) for name in runtime} == runtime


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_every_pin_has_a_hash(lock: str) -> None:
    """Nothing is installed that is not checked by its hash, and no address is named."""
    body = text_of(ROOT / lock).replace("\\\n", " ")
    lines = [line for line in body.splitlines() if line.strip()]

    assert [line for line in lines if "--hash=sha256:" not in line or "://" in line] == []
