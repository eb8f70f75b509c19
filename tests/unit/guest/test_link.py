"""The guest's blocking end of the link."""

import os
import socket
from collections.abc import Iterator

import pytest

from afield._guest.errors import LinkClosedError
from afield._guest.frames import FrameDecoder, pack_frame
from afield._guest.link import Link
from afield._wire.guest import FROM_GUEST, Credit, Ready, Stop


@pytest.fixture
def ends() -> Iterator[tuple[Link, socket.socket]]:
    """A link and the worker's end of it."""
    ours, theirs = socket.socketpair()
    link = Link(ours)
    yield link, theirs
    link.close()
    theirs.close()


def test_receive_returns_all_that_came(ends: tuple[Link, socket.socket]) -> None:
    """One read holds many frames."""
    link, worker = ends
    worker.sendall(pack_frame(Credit(token=1, total=2)) + pack_frame(Stop()))

    assert link.receive() == [Credit(token=1, total=2), Stop()]


def test_poll_does_not_wait(ends: tuple[Link, socket.socket]) -> None:
    """And keeps half a frame for later."""
    link, worker = ends
    frame = pack_frame(Stop())
    worker.sendall(frame[:3])

    assert link.poll() == []
    worker.sendall(frame[3:])
    assert link.poll() == [Stop()]


def test_frames_given_back_come_first(ends: tuple[Link, socket.socket]) -> None:
    """Once."""
    link, worker = ends
    link.push_back([Credit(token=1, total=2)])

    assert link.receive() == [Credit(token=1, total=2)]
    worker.sendall(pack_frame(Stop()))
    assert link.receive() == [Stop()]


def test_messages_are_sent_in_one_piece(ends: tuple[Link, socket.socket]) -> None:
    """The worker is woken once."""
    link, worker = ends

    link.send(Ready(load_s=1.0), Ready(load_s=2.0))

    assert FrameDecoder(FROM_GUEST).feed(worker.recv(1000)) == [Ready(load_s=1.0), Ready(load_s=2.0)]


def test_a_worker_that_is_gone_is_an_error_of_its_own(ends: tuple[Link, socket.socket]) -> None:
    """For reading and writing."""
    link, worker = ends
    worker.close()

    with pytest.raises(LinkClosedError):
        link.receive()
    with pytest.raises(LinkClosedError):
        link.send(Ready(load_s=1.0))


def test_junk_closes_the_link(ends: tuple[Link, socket.socket]) -> None:
    """The stream cannot be read any further."""
    link, worker = ends
    worker.sendall(b"\x00\x00\x00\x01\x90")

    with pytest.raises(LinkClosedError, match="no frame"):
        link.receive()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_has_no_link(ends: tuple[Link, socket.socket]) -> None:
    """It knows that it is not the container, and its descriptor is closed."""
    link, _ = ends
    assert link.is_ours
    pid = os.fork()
    if pid == 0:
        try:
            link.send(Ready(load_s=1.0))
        except LinkClosedError:
            os._exit(0 if not link.is_ours else 2)
        os._exit(1)

    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
