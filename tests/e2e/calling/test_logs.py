"""What user code writes reaches the client: live, in order, whoever wrote it."""

import subprocess
import sys
import textwrap
from pathlib import Path

PROGRAMS = Path(__file__).parent / "programs"


def run_script(body: str, tmp_path: Path, *, output: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a plain script that calls functions of `fleet` inside `app.run()`."""
    script = tmp_path / "script.py"
    indented = textwrap.indent(textwrap.dedent(body), "        ")
    opening = "afield.enable_output()" if output else "contextlib.nullcontext()"
    script.write_text(
        f"import contextlib, sys, time\nsys.path.insert(0, {str(PROGRAMS)!r})\nimport afield, fleet\n"
        f"if __name__ == '__main__':\n    with {opening}, fleet.app.run():\n{indented}\n"
    )
    return subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60)


def test_every_writer_is_heard(platform_home: Path, tmp_path: Path) -> None:
    """print, file descriptors, subprocesses, C libraries, and text without a newline."""
    done = run_script("fleet.say_everywhere.remote()", tmp_path)

    assert done.returncode == 0, done.stderr
    for text in ("from-print", "from-os-write", "from-subprocess", "from-c-library", "no-newline-at-end"):
        assert text in done.stdout, done.stdout
    assert "from-stderr" in done.stdout + done.stderr


def test_order_per_stream(platform_home: Path, tmp_path: Path) -> None:
    """Lines of one container come in the order in which they were written."""
    done = run_script("fleet.say_in_order.remote(2000)", tmp_path)
    lines = [line for line in done.stdout.splitlines() if line.startswith("line ")]

    assert lines == [f"line {i}" for i in range(2000)]


def test_output_comes_before_the_result(platform_home: Path, tmp_path: Path) -> None:
    """The output of a call is shown before its value is returned."""
    done = run_script("fleet.say.remote('over there'); print('back here', flush=True)", tmp_path)

    assert done.stdout.index("over there") < done.stdout.index("back here")


def test_silent_by_default(platform_home: Path, tmp_path: Path) -> None:
    """Without enable_output a run shows nothing of its own, nor the functions' output."""
    done = run_script("print(fleet.square.remote(3))", tmp_path, output=False)

    assert (done.stdout, done.stderr) == ("9\n", "")


def test_label_when_several_containers_talk(platform_home: Path, tmp_path: Path) -> None:
    """With several containers writing, each line says whose it is."""
    done = run_script("list(fleet.say_and_nap.map(range(4)))", tmp_path)
    lines = [line for line in done.stdout.splitlines() if "talker" in line]

    assert len(lines) == 4, done.stdout
    assert any(not line.startswith("talker") for line in lines), done.stdout
