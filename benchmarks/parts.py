"""What the steps of a call that need no other process cost by themselves."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from afield._wire.codec import decode, encode
from afield._wire.messages import InputPack, InputResult, ResultPack
from afield.serialization import dumps, dumps_call, loads, loads_call

ROUNDS = 20_000


class Part(NamedTuple):
    """One step, and its seconds."""

    name: str
    seconds: float


def measure() -> list[Part]:
    """Return the mean seconds of each step, for a call `f(42)`."""
    call_id = "fc-abcdefghij-0-1234"
    payload = dumps_call((42,), {}).join()
    pack = InputPack(
        call_id=call_id,
        function_id="fu-abcdefghijklmnop",
        kind="call",
        first=0,
        args=(payload,),
        sent_at=time.time(),
    )
    packed = encode(pack)
    value = dumps(42).join()
    results = ResultPack(
        call_id=call_id,
        first=0,
        results=(InputResult(index=0, status="ok", value=value),),
        container_id="ta-abcdefghijklmnop",
        worker_id="wk-abcdefghijklmnop",
    )
    stored = encode(results)
    return [
        Part("client: arguments to bytes", _mean(lambda: dumps_call((42,), {}).join())),
        Part("client: input to a message", _mean(lambda: encode(pack))),
        Part("worker: message to input", _mean(lambda: decode(InputPack, packed))),
        Part("guest: bytes to arguments", _mean(lambda: loads_call(payload))),
        Part("guest: value to bytes", _mean(lambda: dumps(42).join())),
        Part("worker: result to a message", _mean(lambda: encode(results))),
        Part("client: message to result", _mean(lambda: decode(ResultPack, stored))),
        Part("client: bytes to value", _mean(lambda: loads(value))),
    ]


def _mean(step: Callable[[], Any], rounds: int = ROUNDS) -> float:
    for _ in range(rounds // 10):
        step()
    began = time.perf_counter()
    for _ in range(rounds):
        step()
    return (time.perf_counter() - began) / rounds
