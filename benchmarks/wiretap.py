"""A process that listens on the bus and notes when inputs go to their worker: `python -m benchmarks.wiretap`.

It reads the server's address and the operator's token from the environment (BENCH_SERVER, BENCH_TOKEN), says `ready`,
and, once its standard input closes, prints what it noted: a JSON list of [hop, call id, monotonic nanoseconds].
It also answers the bare path of `trace_call`: it pulls what lies in BENCH_IN and publishes it to BENCH_OUT.
"""

import json
import os
import sys
from functools import partial
from time import monotonic_ns

import anyio
import anyio.to_thread

from afield._bus.connection import Bus, BusAddress
from afield._bus.delivery import Delivery
from afield._bus.msg import Msg
from afield._bus.pull import PullLoop
from benchmarks.probes import Clock, call_of

Seen = list[tuple[str, str, int]]

DELIVERIES = "_INBOX.worker.>"


async def main() -> None:
    """Listen until the standard input closes."""
    user, _, secret = os.environ["BENCH_TOKEN"].partition(":")
    address = BusAddress(os.environ["BENCH_SERVER"], user, secret)
    seen: Seen = []
    async with Bus.open(address, name="bench-wiretap") as bus, anyio.create_task_group() as tasks:
        await bus.subscribe(DELIVERIES, partial(_note, bus, Clock(), seen))
        responder = PullLoop(bus, "BENCH_IN", "bench", partial(_respond, bus))
        await tasks.start(responder.run)
        responder.demand(10_000)
        await bus.flush()
        print("ready", flush=True)
        await anyio.to_thread.run_sync(sys.stdin.read)
        tasks.cancel_scope.cancel()
    json.dump(seen, sys.stdout)


def _note(bus: Bus, clock: Clock, seen: Seen, msg: Msg) -> None:
    now = monotonic_ns()
    call_id = call_of(msg.subject)
    if call_id and msg.reply:
        delivery = Delivery(bus, msg.subject, msg.reply, msg.raw_headers, msg.data)
        seen.append(("stored input", call_id, clock.translate_ns(delivery.stored_ns)))
        seen.append(("delivered", call_id, now))


def _respond(bus: Bus, delivery: Delivery) -> None:
    number = delivery.subject.rpartition(".")[2]
    ack = bus.publisher.start(f"benchout.{number}", delivery.data, msg_id=f"out-{number}")
    ack.add_done_callback(lambda _: delivery.ack())


if __name__ == "__main__":
    anyio.run(main)
