"""The platform without registry and scheduler: publishes functions and inputs by hand, and reads what workers store."""

import itertools
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from textwrap import dedent
from typing import Any

import anyio
import anyio.abc

from afield import serialization
from afield._bundle import pack_files
from afield._bus.blobs import BlobStore
from afield._bus.connection import Bus
from afield._bus.files import FileTier
from afield._bus.kv import Bucket
from afield._bus.msg import Msg
from afield._wire import subjects
from afield._wire.api import StartContainer, StartReply, StopContainer, worker_start, worker_stop
from afield._wire.codec import decode, encode
from afield._wire.functions import CodeRef, FunctionRecord, FunctionSpec, WorkerRecord
from afield._wire.ids import new_id, new_session
from afield._wire.messages import (
    BlobRef,
    CallControl,
    CallKind,
    Event,
    GeneratorChunk,
    InputPack,
    InputResult,
    LogBatch,
    ResultPack,
)
from afield._wire.streams import consumer_config
from afield._wire.subjects import LANES, Lane
from afield_common.jetstream import ConsumerState, JetStream
from afield_common.store import ensure_assets
from afield_worker.service import WorkerService
from afield_worker.settings import WorkerSettings
from support.services import connected, running

HOST = "here"


class Field:
    """One caller's view of a platform: what it publishes, and everything that is stored for it."""

    def __init__(self, bus: Bus, folder: Path) -> None:
        self.bus = bus
        self.folder = folder
        self.blob_dir = folder / "blobs"
        self.files = FileTier(self.blob_dir, HOST)
        self.tmp = BlobStore(bus, "TMP")
        self.jet = JetStream(bus)
        self.session = new_session()
        self.results: dict[tuple[str, str], ResultPack] = {}
        """By call and pack token."""
        self.chunks: dict[str, list[GeneratorChunk]] = {}
        self.output: list[LogBatch] = []
        self.seen: list[str] = []
        """What came, in order: `log`, and the pack tokens of results."""
        self.events: list[Event] = []
        self._numbers = itertools.count(1)
        self._news = anyio.Event()

    async def open(self) -> None:
        """Create the streams, and listen."""
        await ensure_assets(self.bus, 1)
        await self.bus.subscribe(subjects.stored_results_of_session("main", self.session), self._on_result)
        await self.bus.subscribe("log.>", self._on_log)
        await self.bus.subscribe("ev.>", self._on_event)
        await self.bus.flush()

    # -- functions -----------------------------------------------------------------------------------------

    async def define(self, source: str, **spec: Any) -> FunctionRecord:
        """Publish a function: `f` of a module with this source."""
        file = self.folder / f"source{next(self._numbers)}.py"
        file.write_text(dedent(source))
        digest, data = pack_files({"usercode.py": file})
        await BlobStore(self.bus, "CODE").put_if_absent(digest, data)
        code = CodeRef(module="usercode", qualname="f", bundle=digest, entry="usercode.py")
        return await self.publish_function(FunctionSpec(name="f", code=code, **spec))

    async def publish_function(self, spec: FunctionSpec) -> FunctionRecord:
        """Make the consumers of a function, as the registry does."""
        record = FunctionRecord(
            function_id=new_id("fu"), app_id="ap-1", app_name="app", ws="main", shard=0, spec=spec
        )
        for lane in LANES:
            await self.jet.create_consumer("IN_0", consumer_config("main", record.function_id, 0, lane))
        return record

    # -- calls ---------------------------------------------------------------------------------------------

    def new_call(self) -> str:
        """A fresh call id."""
        return f"fc-{self.session}-0-{next(self._numbers)}"

    async def send(
        self,
        record: FunctionRecord,
        *args: Any,
        kind: CallKind = "call",
        lane: Lane = "hi",
        call_id: str = "",
        payloads: tuple[bytes | BlobRef, ...] = (),
        first: int = 0,
        **fields: Any,
    ) -> str:
        """Publish one pack with an input for each of `args`, and return the id of its call."""
        call_id = call_id or self.new_call()
        packed = payloads or tuple(serialization.dumps_call((arg,), {}).join() for arg in args)
        pack = InputPack(
            call_id=call_id,
            function_id=record.function_id,
            kind=kind,
            first=first,
            args=packed,
            sent_at=time.time(),
            **{"caller_host": HOST, **fields},
        )
        token = f"{first}-{len(packed)}"
        subject = f"in.0.main.{record.function_id}.{lane}.{call_id}.{token}.{pack.attempt}"
        await self.bus.publisher.publish(subject, encode(pack), msg_id=f"{call_id}.{token}.{pack.attempt}")
        return call_id

    async def result(self, call_id: str, token: str = "0-1") -> ResultPack:
        """Wait for the result of a pack."""
        await self.until(lambda: (call_id, token) in self.results)
        return self.results[call_id, token]

    async def outcome(self, call_id: str, token: str = "0-1") -> InputResult:
        """Wait for the result of a pack, and return that of its first input."""
        return (await self.result(call_id, token)).results[0]

    async def value(self, call_id: str, token: str = "0-1") -> Any:
        """Wait for the result of a pack of one, and return its value."""
        outcome = await self.outcome(call_id, token)
        assert outcome.status == "ok", outcome
        assert isinstance(outcome.value, bytes)
        return serialization.loads(outcome.value)

    async def control(self, call_id: str, **fields: Any) -> None:
        """Say something about a call to all workers."""
        message = CallControl(call_id=call_id, **fields)
        await self.bus.publish(subjects.call_control("main", call_id), encode(message))

    # -- workers --------------------------------------------------------------------------------------------

    def settings(self, **changes: Any) -> WorkerSettings:
        """Settings of a worker in this test's folders."""
        fields = {
            "server": self.bus.address.url,
            "host": HOST,
            "blob_dir": self.blob_dir,
            "cache_dir": self.folder / "cache",
            "run_dir": self.folder / "run",
            "drain_s": 6.0,
            **changes,
        }
        return WorkerSettings(**fields)

    @asynccontextmanager
    async def worker(self, **changes: Any) -> AsyncIterator[WorkerService]:
        """A worker on a bus of its own."""
        async with (
            connected(self.bus.address.url, "worker") as bus,
            running(WorkerService(bus, self.settings(**changes))) as service,
        ):
            yield service

    async def spawn(self, worker_id: str, **env: str) -> anyio.abc.Process:
        """A worker as a process of its own, ready to take containers; `env` is added to its environment."""
        env = {
            **os.environ,
            "AFIELD_SERVER": self.bus.address.url,
            "AFIELD_WORKER_ID": worker_id,
            "AFIELD_HOST": HOST,
            "AFIELD_BLOB_DIR": str(self.blob_dir),
            "AFIELD_CACHE_DIR": str(self.folder / "cache"),
            "AFIELD_RUN_DIR": str(self.folder / "run"),
            **env,
        }
        command = [sys.executable, "-m", "afield_worker"]
        process = await anyio.open_process(command, env=env, stdout=None, stderr=None)

        async def ready() -> bool:
            return worker_id in [w.worker_id for w in await self.workers()]

        await until_true(ready)
        return process

    async def start(self, worker: WorkerService | str, record: FunctionRecord) -> StartReply:
        """Have a worker, or the one with this id, start a container."""
        worker_id = worker if isinstance(worker, str) else worker.worker_id
        request = StartContainer(container_id=new_id("ta"), function=record)
        return await self.bus.call(worker_start(worker_id), request)

    async def stop(self, worker: WorkerService, **which: Any) -> None:
        """Have a worker stop containers."""
        await self.bus.call(worker_stop(worker.worker_id), StopContainer(**which))

    async def workers(self) -> list[WorkerRecord]:
        """What the bucket says of workers."""
        return [decode(WorkerRecord, entry.data) for entry in await Bucket(self.bus, "WORKERS").snapshot()]

    async def consumer(self, record: FunctionRecord, lane: Lane = "hi") -> ConsumerState:
        """What the queue of a function looks like."""
        name = subjects.input_consumer("main", record.function_id, lane)
        state = await self.jet.consumer("IN_0", name)
        assert state is not None
        return state

    async def drained(self, record: FunctionRecord) -> None:
        """Wait until no input of a function is left in its stream."""
        filter_subject = subjects.inputs_of_function(0, "main", record.function_id)

        async def empty() -> bool:
            return not (await self.jet.subjects("IN_0", filter_subject)).subjects

        await until_true(empty)

    async def missing(self, name: str) -> bool:
        """Tell whether there is no object of this name in TMP."""
        return not await self.tmp.exists(name)

    # -- listening -------------------------------------------------------------------------------------------

    async def until(self, condition: Any, timeout: float = 30.0) -> None:
        """Wait for a condition that only what is heard can make true."""
        with anyio.fail_after(timeout):
            while not condition():
                await self._news.wait()

    def text(self, stream: str = "stdout") -> str:
        """All output so far, of one stream."""
        records = [r for batch in self.output for r in batch.records]
        return b"".join(r.data for r in records if r.stream == stream).decode()

    def said(self, record: FunctionRecord, kind: str) -> list[Event]:
        """The events of a kind so far that concern a function."""
        return [e for e in self.events if e.kind == kind and e.function_id == record.function_id]

    def _tell(self) -> None:
        self._news.set()
        self._news = anyio.Event()

    def _on_result(self, msg: Msg) -> None:
        where = subjects.parse_result(msg.subject)
        if where.pack is not None:
            self.results[where.call_id, str(where.pack)] = decode(ResultPack, msg.data)
            self.seen.append(str(where.pack))
        else:
            self.chunks.setdefault(where.call_id, []).append(decode(GeneratorChunk, msg.data))
        self._tell()

    def _on_log(self, msg: Msg) -> None:
        self.output.append(decode(LogBatch, msg.data))
        self.seen.append("log")
        self._tell()

    def _on_event(self, msg: Msg) -> None:
        self.events.append(decode(Event, msg.data))
        self._tell()


async def until_true(ask: Callable[[], Awaitable[bool]], *, timeout: float = 20.0) -> None:
    """Ask a peer until it says yes; raises TimeoutError."""
    with anyio.fail_after(timeout):
        while not await ask():  # noqa: ASYNC110 - a peer is asked, it sends no event
            await anyio.sleep(0.01)


@asynccontextmanager
async def field_on(url: str, folder: Path) -> AsyncIterator[Field]:
    """A field on the server at `url`."""
    async with connected(url) as bus:
        field = Field(bus, folder)
        await field.open()
        yield field
