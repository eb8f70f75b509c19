"""What of a crash is shown to the user."""

import os

from afield._guest.crashes import MOST_FRAMES, OURS, Crash, shorten

HEAD = "Fatal Python error: Segmentation fault\n\nStack (most recent call first):\n"
MINE = '  File "/home/app.py", line 2 in f\n'
GUEST = f'{OURS}syncloop.py", line 99 in _run_function\n'


def test_only_the_users_frames_are_shown() -> None:
    """Whatever is behind the first frame of the guest is left out."""
    dump = f'{HEAD}{MINE}{GUEST}  File "/lib/runpy.py", line 1 in run\n\nExtension modules: msgpack\n'

    assert shorten(dump) == f"Fatal Python error: Segmentation fault\n{MINE}"


def test_a_crash_of_the_guest_itself_shows_all_frames() -> None:
    """There is nothing else to tell where it was."""
    assert shorten(HEAD + GUEST).endswith(GUEST)


def test_a_deep_stack_is_cut() -> None:
    """It says how many frames are left out."""
    lines = shorten(HEAD + MINE * (MOST_FRAMES + 5) + GUEST).splitlines()

    assert len(lines) == 1 + MOST_FRAMES + 1
    assert lines[-1] == "  ... and 5 more"


def test_what_is_no_dump_is_not_shown() -> None:
    """User code can write to the file too."""
    assert shorten("junk\n") == shorten("") == ""


def test_a_full_pipe_does_not_hold_up_the_template() -> None:
    """The dump is dropped, and the pipe's other writers still block."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    while True:
        try:
            os.write(writer, b"x" * 65536)
        except BlockingIOError:
            break
    os.set_blocking(writer, True)
    crash = Crash(writer)
    os.write(crash.file, (HEAD + MINE).encode())

    crash.tell(11)
    crash.close()

    assert os.get_blocking(writer)
    os.close(reader)
    os.close(writer)
