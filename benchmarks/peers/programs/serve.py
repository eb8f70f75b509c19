"""The loop of a program: requests on standard input, answers on standard output, one line of JSON each.

A request is `{"work": "warm", "calls": 500}`; an answer has `figures`, or `na` with why the peer has no such thing, or
`failed` with what went wrong. Whatever else is printed goes to standard error. The end of the input ends the program.
"""

import json
import os
import sys
import traceback
from typing import Any

from benchmarks.peers.programs.measures import MEASURES
from benchmarks.peers.programs.peer import NotApplicableError, Peer


def serve(peer: Peer) -> None:
    """Start the peer, do what is asked, and stop it at the end of the input."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries and their children print as they like
    try:
        peer.start(int(os.environ["PEERS_SLOTS"]))
        while line := sys.stdin.readline():
            request = json.loads(line)
            work = request.pop("work")
            if work == "idle":
                _say(answers, {"ready": True, "client_is_part": peer.client_is_part})
            _say(answers, _answer(peer, work, request))
    finally:
        peer.stop()


def _say(answers: Any, answer: dict[str, Any]) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


def _answer(peer: Peer, work: str, sizes: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"figures": MEASURES[work](peer, **sizes)}
    except NotApplicableError as reason:
        return {"na": str(reason)}
    except Exception as error:  # told to who asked, who shows it in the table
        traceback.print_exc()
        return {"failed": f"{type(error).__name__}: {error}"}
