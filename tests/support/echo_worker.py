"""A stand-in for worker and scheduler, on a real server: it answers inputs as a test tells it to, and keeps what it saw."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio

from afield._bus import Bus
from afield._bus.delivery import Delivery
from afield._bus.pull import PullLoop
from afield._wire import api, streams, subjects
from afield._wire.codec import decode, encode
from afield._wire.functions import CodeRef, FunctionRecord, FunctionSpec
from afield._wire.ids import new_id
from afield._wire.messages import CallControl, GeneratorChunk, InputPack, InputResult, ResultPack
from afield._wire.subjects import LANES, Pack, parse_pack
from afield.serialization import dumps, loads_call
from afield_common.errors import RefusedError
from afield_common.micro import Handler, serve
from support import streams as raw

Answer = Callable[[InputPack], tuple[InputResult, ...] | None]
"""Returns the results of a pack, or None to leave it unanswered."""


def function_record(**spec: object) -> FunctionRecord:
    """A function of its own."""
    declared = FunctionSpec(**{"name": "f", "code": CodeRef(module="m", qualname="f"), **spec})  # type: ignore[arg-type]
    return FunctionRecord(
        function_id=new_id("fu"), app_id=new_id("ap"), app_name="", ws="main", shard=0, spec=declared
    )


def echo(pack: InputPack) -> tuple[InputResult, ...]:
    """Answer each input with its first argument."""
    return tuple(
        InputResult(index=pack.first + i, status="ok", value=dumps(loads_call(arg)[0][0]).join())
        for i, arg in enumerate(pack.args)
        if isinstance(arg, bytes)
    )


class EchoWorker:
    """Pulls the inputs of one function. `answer` may be replaced at any time."""

    def __init__(self, bus: Bus, record: FunctionRecord) -> None:
        self.bus = bus
        self.over = False
        self.record = record
        self.answer: Answer = echo
        self.packs: list[InputPack] = []
        self.lanes: list[str] = []
        self.cancelled: list[str] = []
        self.unavailable = 0
        """Cancellations that are answered as not over yet."""
        self.forgotten: list[str] = []
        self.controls: list[CallControl] = []
        self.state = api.CallState(call_id="", pending=(), finished=())
        self.stats = api.FunctionStats(backlog=0, containers=0, inputs_running=0, input_headroom=0)

    def on_delivery(self, delivery: Delivery) -> None:
        if self.over:
            return  # it was on its way
        pack = decode(InputPack, delivery.data)
        self.packs.append(pack)
        self.lanes.append(subjects.parse_input(delivery.subject).lane)
        results = self.answer(pack)
        if results is not None:
            self.store(pack, results)
        delivery.ack()

    def store(self, pack: InputPack, results: tuple[InputResult, ...]) -> None:
        """Publish the results of a pack."""
        self.publish(
            pack.call_id,
            str(Pack(pack.first, len(pack.args))),
            encode(
                ResultPack(
                    call_id=pack.call_id, first=pack.first, results=results, container_id="", worker_id=""
                )
            ),
        )

    def yield_(self, call_id: str, number: int, first: int, *values: object) -> None:
        """Publish a chunk of a generator's values."""
        chunk = GeneratorChunk(
            call_id=call_id, first=first, values=tuple(dumps(v).join() for v in values), worker_id=""
        )
        self.publish(call_id, f"g{number}", encode(chunk))

    def publish(self, call_id: str, token: str, data: bytes) -> None:
        """Store a message in RESULTS."""
        self.bus.publisher.start(subjects.result("main", call_id, token), data, msg_id=f"{call_id}.{token}")

    async def on_cancel(self, ref: api.CallRef) -> api.Done:
        self.cancelled.append(ref.call_id)
        if self.unavailable:
            self.unavailable -= 1
            raise RefusedError("unavailable", "it takes longer")
        return api.Done()

    async def on_forget(self, ref: api.CallRef) -> api.Done:
        self.forgotten.append(ref.call_id)
        return api.Done()

    async def on_get(self, ref: api.CallRef) -> api.CallState:
        def asked_for(token: str) -> bool:
            return not ref.indices or any(i in parse_pack(token).indices for i in ref.indices)

        return replace(
            self.state,
            pending=tuple(filter(asked_for, self.state.pending)),
            finished=tuple(filter(asked_for, self.state.finished)),
        )

    async def on_stats(self, _request: api.FunctionStatsRequest) -> api.FunctionStats:
        return self.stats


async def make_assets(bus: Bus) -> None:
    """Make the streams that calls need."""
    for spec in (streams.input_stream(0), streams.RESULTS, streams.TMP):
        await raw.make_asset(bus, spec)


@asynccontextmanager
async def echo_worker(bus: Bus, record: FunctionRecord | None = None) -> AsyncIterator[EchoWorker]:
    """A worker for one function, while the block runs."""
    await make_assets(bus)
    made = EchoWorker(bus, record or function_record())
    endpoints: dict[api.Endpoint[object, object], Handler] = {
        api.CALL_CANCEL: made.on_cancel,  # type: ignore[dict-item]
        api.CALL_FORGET: made.on_forget,  # type: ignore[dict-item]
        api.CALL_GET: made.on_get,  # type: ignore[dict-item]
        api.FUNCTION_STATS: made.on_stats,  # type: ignore[dict-item]
    }
    control = bus.open_subscription(
        subjects.ALL_CALL_CONTROL, lambda _s, _r, _h, data: made.controls.append(decode(CallControl, data))
    )
    async with anyio.create_task_group() as tasks:
        for lane in LANES:
            config = streams.consumer_config("main", made.record.function_id, 0, lane)
            name = config["durable_name"]
            await raw.api(
                bus,
                f"CONSUMER.CREATE.IN_0.{name}.{config['filter_subject']}",
                {"stream_name": "IN_0", "config": config},
            )
            loop = PullLoop(bus, "IN_0", name, made.on_delivery)
            loop.demand(1_000_000)
            tasks.start_soon(loop.run)
        async with serve(bus, tasks, "scheduler", "0.0.0", endpoints):
            yield made
            made.over = True
        tasks.cancel_scope.cancel()
    control.close()
