"""`afield run` on a running platform: what is run, with which arguments, and what is shown."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import COMMAND, PROGRAMS, Cli, until


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("one.py", "9 w 0.5 False None s one"),
        ("one.py::main --n 4 --word x", "16 x 0.5 False None s one"),
        ("one.py::app.main --ratio 2 --flag --size l", "9 w 2.0 True None l one"),
        ("one.py --day 2024-02-29", "9 w 0.5 False 2024-02-29 00:00:00 s one"),
        ("one.py::square --x 5", "squaring 5"),
        ("one.py::app.square --x 6", "squaring 6"),
        ("sole.py --word one", "only one"),
        ("several.py::later --x 4", "later double 8"),
        ("several.py::app.later --x 5", "later double 10"),
        ("classes.py::Greeter.greet --name you --times 2", "Hello, you! Hello, you!"),
        ("classes.py::app.Greeter.greet --name you --greeting Hi", "Hi, you!"),
        ("classes.py::Other a --b", "only a --b"),
        ("-m pkg.mod", "pkg beside pkg.sibling pkg.mod"),
        ("-m pkg.mod::app.main", "pkg beside pkg.sibling pkg.mod"),
        ("-e other one.py", "9 w"),
        ("--alias modal ported.py", "ported True 2 afield.exception"),
    ],
)
def test_what_is_run(running: Cli, line: str, said: str) -> None:
    """Files, modules, names and options choose what runs and what it gets; `__main__` blocks do not run."""
    shown = running("run", *line.split()).stdout
    assert said in shown
    assert "__main__" not in shown


def test_output_and_progress(running: Cli) -> None:
    """Output of the function comes on stdout, progress on stderr."""
    done = running("run", "-n", "renamed", "sole.py")
    assert done.stdout == "only nothing\n"
    assert "app renamed runs" in done.stderr


def test_quiet(running: Cli) -> None:
    """Quiet mode shows what the entrypoint itself prints, and nothing else."""
    done = running("run", "-q", "one.py")
    assert done.stdout == "9 w 0.5 False None s one\n"
    assert done.stderr == ""


def test_timestamps(running: Cli) -> None:
    """With --timestamps, each line of output begins with the time."""
    shown = running("run", "--timestamps", "sole.py").stdout
    assert re.search(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d only nothing$", shown, re.MULTILINE), shown


def test_methods_to_choose_from(running: Cli) -> None:
    """A file with several methods and no name: they are listed."""
    done = running("run", "classes.py", check=2)
    assert "classes.py::Greeter.greet, classes.py::Greeter.raw, classes.py::Other.only" in done.stderr


@pytest.mark.parametrize(
    ("line", "content"),
    [
        ("several.py::double --x 2", b"double 4"),
        ("several.py::blob", b"\x00\xff"),
        ("several.py::raw --x 1 --help - y", b"raw ('--x', '1', '--help', '-', 'y')"),
        ("--detach several.py::double --x 3", b"double 6"),
    ],
)
def test_the_result_in_a_file(running: Cli, tmp_path: Path, line: str, content: bytes) -> None:
    """--write-result stores a str or bytes; `*args` gets the arguments as they are."""
    result = tmp_path / "result"
    running("run", "-q", "-w", str(result), *line.split())
    assert result.read_bytes() == content


def test_a_result_that_is_no_text(running: Cli, tmp_path: Path) -> None:
    """--write-result refuses other results, and writes nothing."""
    done = running("run", "-q", "-w", str(tmp_path / "result"), "several.py::unannotated", check=1)
    assert (
        done.stderr
        == "Error: --write-result takes a str or bytes, but unannotated returned int; nothing was written\n"
    )
    assert not (tmp_path / "result").exists()


def test_a_script_on_standard_input(running: Cli) -> None:
    """`-` reads the script from standard input."""
    script = (PROGRAMS / "sole.py").read_text()
    assert running("run", "-q", "-::only", "--word", "x", input=script).returncode == 0
    assert "only y" in running("run", "-", "--word", "y", input=script).stdout


def test_help_of_a_function(running: Cli) -> None:
    """The help of a reference lists the options of what it names."""
    shown = running("run", "one.py", "--help").stdout
    for part in ("--n INTEGER", "--flag / --no-flag", "--size [s|l]", "[default: 3]"):
        assert part in shown


def test_a_remote_error(running: Cli) -> None:
    """An error of a function is shown with the frames of the user's files alone."""
    done = running("run", "-q", "several.py::boom", check=1)
    lines = done.stderr.splitlines()
    assert "ZeroDivisionError: division by zero" in lines
    files = [Path(line.split('"')[1]).name for line in lines if line.startswith("  File")]
    assert files == ["several.py", "several.py"]


def test_a_local_error(running: Cli) -> None:
    """An error of an entrypoint is shown in the same way."""
    done = running("run", "-q", "several.py::local_boom", check=1)
    assert [line.strip() for line in done.stderr.splitlines() if "File" in line] == [
        f'File "{PROGRAMS / "several.py"}", line {number}, in {name}'
        for number, name in _lines_of(
            "several.py", ("local_boom", "    helper(0)"), ("helper", "return 1 / x")
        )
    ]


def _lines_of(program: str, *wanted: tuple[str, str]) -> list[tuple[int, str]]:
    lines = (PROGRAMS / program).read_text().splitlines()
    return [
        (next(number for number, line in enumerate(lines, 1) if text in line), name) for name, text in wanted
    ]


def test_an_error_while_importing(running: Cli) -> None:
    """A file that cannot be imported shows where, without our own frames."""
    done = running("run", "broken.py", check=1)
    assert done.stderr.endswith("ModuleNotFoundError: No module named 'a_module_that_is_not_there'\n")
    assert done.stderr.count("  File") == 2


def test_the_entrypoint_leaves(running: Cli) -> None:
    """sys.exit() in an entrypoint is the exit status of the command."""
    running("run", "-q", "several.py::leave", check=7)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("run", "Missing argument 'FUNC_REF'"),
        ("run none.py", "there is no file 'none.py'"),
        ("run oen.py", "did you mean 'one.py'"),
        ("run one.py:main", "single ':'"),
        ("run one", "is not a Python file"),
        ("run no_app.py", "has no app"),
        ("run empty.py", "nothing to run"),
        ("run several.py", "several.py::later, several.py::local_boom, several.py::leave"),
        ("run several.py::numbers", "is a generator"),
        ("run several.py::duoble", "did you mean several.py::double"),
        ("run several.py::double", "Missing option '--x'"),
        ("run several.py::double --x two", "'two' is not a valid integer"),
        ("run several.py::double --y 1", "No such option '--y'"),
        ("run several.py::double --x 1 2", "unexpected extra argument"),
        ("run one.py --size m", "'m' is not one of 's', 'l'"),
        ("run -m pkg.none", "there is no module 'pkg.none'"),
        ("run -m none.mod", "there is no module 'none'"),
        ("run -e a.b one.py", "an environment is named"),
        ("run -i one.py", "not available yet"),
        ("run --alias json one.py", "'json' is imported already"),
        ("run --qiuet one.py", "No such option '--qiuet'"),
        ("rnu", "No such command 'rnu'; did you mean 'run'?"),
        ("run several.py::double 5", "unexpected extra argument '5'"),
        ("run several.py::double --x 1 --x 2", "Option '--x' is given more than once"),
        ("run -w /dev/null several.py::number", "number returns int, as its annotation says"),
        ("run -w /none/file one.py", "the folder of /none/file does not exist; nothing was run"),
        ("app stpo x", "did you mean 'stop'?"),
        ("app stop x", "no app 'x' runs in environment 'main'"),
    ],
)
def test_wrong_use(running: Cli, line: str, reason: str) -> None:
    """Wrong use is one sentence on stderr, nothing on stdout, exit status 2."""
    done = running(*line.split(), check=2)
    assert reason in done.stderr
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


@pytest.mark.parametrize("line", ["", "app"])
def test_no_command(running: Cli, line: str) -> None:
    """Without a command, the help is printed as it is; the exit status is that of wrong use."""
    done = running(*line.split(), check=2)
    assert done.stderr.startswith(f"Usage: {' '.join(['afield', *line.split()])} [OPTIONS] COMMAND")
    assert "\nCommands:\n" in done.stderr


def test_a_relative_import_in_a_file(running: Cli) -> None:
    """A file of a package that is run by its path is told from the module that it should be run as."""
    done = running("run", "-q", "pkg/mod.py::main", check=1)
    assert "try `afield run -m pkg.mod::main`" in done.stderr.splitlines()[-1]


def test_a_deleted_working_folder(running: Cli, tmp_path: Path) -> None:
    """A working folder that is gone is told, not the file that cannot be found there."""
    folder = tmp_path / "gone"
    folder.mkdir()
    script = f"import os; os.chdir({str(folder)!r}); os.rmdir({str(folder)!r}); os.execv({COMMAND[0]!r}, {COMMAND!r} + ['run', 'x.py'])"
    done = subprocess.run(
        [sys.executable, "-c", script], env=running.env, capture_output=True, text=True, timeout=50
    )
    assert (done.returncode, done.stderr) == (
        2,
        "Error: the working folder does not exist any more; change to one that does\n",
    )


@pytest.mark.parametrize("flag", ["", "--fails"])
def test_an_unfinished_map_ends_quietly(running: Cli, flag: str) -> None:
    """What nobody reads any more is no error at the end of the process."""
    done = running("run", "-q", "loose.py::unfinished", *flag.split(), check=1 if flag else 0)
    assert done.stdout == "first 0\n"
    assert "ignored" not in done.stderr
    assert done.stderr.endswith("ValueError: mine\n" if flag else "")
    assert done.stderr.count("Traceback") == (1 if flag else 0)


@pytest.mark.parametrize(
    ("settings", "shown"),
    [
        ({"PYTHONIOENCODING": "latin-1"}, "grün \\u2192"),
        ({"PYTHONIOENCODING": "ascii"}, "gr\\xfcn \\u2192"),
        ({"LC_ALL": "C", "PYTHONUTF8": "0"}, "gr\\xfcn \\u2192"),
    ],
)
def test_output_in_a_small_alphabet(running: Cli, settings: dict[str, str], shown: str) -> None:
    """Characters that standard output does not have take nothing else with them."""
    done = subprocess.run(
        [*COMMAND, "run", "loose.py::signs"],
        env={**running.env, **settings},
        cwd=PROGRAMS,
        capture_output=True,
        timeout=50,
    )
    assert done.returncode == 0
    assert done.stdout.decode("latin-1") == f"plain\n{shown}\nafter\n"


def test_the_entrypoints_output_comes_before_the_end_of_the_run(running: Cli) -> None:
    """Also where both go through one pipe, and the entrypoint flushes nothing."""
    env = {**running.env, "PYTHONUNBUFFERED": ""}
    done = subprocess.run(
        [*COMMAND, "run", "one.py"],
        env=env,
        cwd=PROGRAMS,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=50,
    )
    lines = [line.partition(" (")[0] for line in done.stdout.splitlines()]
    assert lines.index("9 w 0.5 False None s one") == len(lines) - 2, lines
    assert lines[-1].endswith("has ended")


@pytest.mark.parametrize("closed", ["2>&-", "2>/dev/full"])
@pytest.mark.parametrize(
    ("line", "status"), [("run one.py", 0), ("run none.py", 2), ("run several.py::boom", 1), ("--help", 0)]
)
def test_nowhere_to_say_anything(running: Cli, closed: str, line: str, status: int) -> None:
    """Without a standard error that takes something, the exit status is what it would be."""
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}', "sh", *COMMAND, *line.split()],
        env={**running.env, "PYTHONUNBUFFERED": ""},
        cwd=PROGRAMS,
        stdout=subprocess.PIPE,
        text=True,
        timeout=50,
    )
    assert done.returncode == status
    assert "Error" not in done.stdout


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("line", ["--help", "run -q one.py", "run one.py::square --x 5"])
def test_a_full_standard_output(running: Cli, line: str, unbuffered: str) -> None:
    """Output that cannot be written, our own or a function's, is an error of one sentence."""
    env = {**running.env, "PYTHONUNBUFFERED": unbuffered}
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*COMMAND, *line.split()],
            env=env,
            cwd=PROGRAMS,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=50,
        )
    said = [line for line in done.stderr.splitlines() if not line.startswith("afield: ")]
    assert (done.returncode, said) == (1, ["Error: cannot write to standard output: No space left on device"])


@pytest.mark.parametrize("times", range(3))
def test_the_reader_leaves_at_the_end(fresh: Cli, times: int) -> None:
    """A reader that leaves while the command cleans up changes the exit status at most: 141 if the command notices."""
    run = fresh.start("run", "-q", "one.py", stderr=subprocess.PIPE)
    until(run, "9 w")
    assert run.stdout is not None
    assert run.stderr is not None
    run.stdout.close()
    with run.stderr:
        said = run.stderr.read()
    assert said == ""
    assert run.wait(50) in (0, 141)
    fresh.assert_clean([])
