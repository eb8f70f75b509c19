"""The part of JetStream's JSON API that services use: streams, consumers, subjects, purge.

nats-py's own manager is tied to one connection object and costs a validation of every field; this asks the
server with plain requests, which survive a rebuilt connection.
"""

import json
from collections.abc import AsyncIterator
from typing import Any, Final, NamedTuple

from afield._bus.connection import Bus
from afield._bus.errors import ApiRefusedError
from afield._bus.leaders import NOT_FOUND, ask_leader
from afield._wire.streams import StreamSpec

STREAM_NOT_FOUND: Final = 10059
CONSUMER_NOT_FOUND: Final = 10014
STREAM_NAME_IN_USE: Final = 10058
"""A stream of this name exists with another configuration."""
STORAGE_EXCEEDED: Final = (10047, 10028)
"""What a stream reserves is more than the server, or the account, has left."""
NO_PEERS: Final = 10005
"""Too few servers of a cluster can keep another replica; the description says why: `peer offline`, `insufficient storage`."""
UNAVAILABLE: Final = 10008
"""JetStream is still starting."""

_PREFIX: Final = "$JS.API"


class ConsumerState(NamedTuple):
    """What a consumer has to do: messages not yet delivered, and delivered but not yet acknowledged."""

    name: str
    pending: int
    ack_pending: int
    waiting_pulls: int
    ack_floor: int
    """The sequence in the stream up to which all is acknowledged."""


class SubjectCount(NamedTuple):
    """The subjects of a stream under a filter with their message counts, as of `last_seq`."""

    subjects: dict[str, int]
    last_seq: int


class JetStream:
    """Requests to the JetStream API over one bus."""

    def __init__(self, bus: Bus, *, timeout: float = 10.0) -> None:
        self._bus = bus
        self._timeout = timeout

    async def request(self, verb: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ask `$JS.API.<verb>` and return the answer.

        A cluster is asked again while it has no leader. Raises ApiRefusedError when the server refuses, BusError when it
        does not answer.
        """
        payload = json.dumps(body).encode() if body is not None else b""
        msg = await ask_leader(self._bus, f"{_PREFIX}.{verb}", payload, timeout=self._timeout)
        answer: dict[str, Any] = json.loads(msg.data)
        error = answer.get("error")
        if error:
            raise ApiRefusedError(verb, error.get("err_code", 0), error.get("description", ""))
        return answer

    async def storage(self) -> int | None:
        """Return the bytes of file storage that our account may use; None when it has no limit of its own."""
        limits = (await self.request("INFO")).get("limits") or {}
        most = int(limits.get("max_storage", -1))
        return most if most > 0 else None

    async def stream_names(self) -> set[str]:
        """Return the names of all streams."""
        names: set[str] = set()
        while True:
            page = await self.request("STREAM.NAMES", {"offset": len(names)})
            found = page.get("streams") or []
            names.update(found)
            if not found or len(names) >= page["total"]:
                return names

    async def create_stream(self, spec: StreamSpec) -> None:
        """Create a stream; harmless when it exists with the same configuration."""
        body = {"name": spec.name, "subjects": list(spec.subjects), **spec.config}
        await self.request(f"STREAM.CREATE.{spec.name}", body)

    async def update_stream(self, spec: StreamSpec) -> None:
        """Give a stream that exists this configuration."""
        body = {"name": spec.name, "subjects": list(spec.subjects), **spec.config}
        await self.request(f"STREAM.UPDATE.{spec.name}", body)

    async def create_consumer(self, stream: str, config: dict[str, Any]) -> None:
        """Create a durable consumer; harmless when it exists with the same configuration."""
        name = config["durable_name"]
        body = {"stream_name": stream, "config": config}
        await self.request(f"CONSUMER.DURABLE.CREATE.{stream}.{name}", body)

    async def delete_consumer(self, stream: str, name: str) -> bool:
        """Delete a consumer; False when there was none."""
        try:
            await self.request(f"CONSUMER.DELETE.{stream}.{name}")
        except ApiRefusedError as error:
            if error.err_code != CONSUMER_NOT_FOUND:
                raise
            return False
        return True

    async def consumer(self, stream: str, name: str) -> ConsumerState | None:
        """Return the state of one consumer, None when there is none."""
        try:
            return _consumer_state(await self.request(f"CONSUMER.INFO.{stream}.{name}"))
        except ApiRefusedError as error:
            if error.err_code != CONSUMER_NOT_FOUND:
                raise
            return None

    async def consumers(self, stream: str) -> AsyncIterator[ConsumerState]:
        """Yield the state of every consumer of a stream (one request per 256)."""
        offset = 0
        while True:
            page = await self.request(f"CONSUMER.LIST.{stream}", {"offset": offset})
            found = page.get("consumers") or []
            for info in found:
                yield _consumer_state(info)
            offset += len(found)
            if not found or offset >= page["total"]:
                return

    async def subjects(self, stream: str, filter_subject: str) -> SubjectCount:
        """Return the subjects of a stream that a filter matches, and the stream's last sequence at that time."""
        found: dict[str, int] = {}
        last_seq = -1
        async for page in self.subject_pages(stream, filter_subject):
            # Later pages may see later messages: the first page's sequence is the safe bound.
            last_seq = page.last_seq if last_seq < 0 else last_seq
            found.update(page.subjects)
        return SubjectCount(found, last_seq)

    async def subject_pages(self, stream: str, filter_subject: str) -> AsyncIterator[SubjectCount]:
        """As `subjects`, page by page (the server's are of 100,000). One that goes meanwhile may hide another."""
        seen = 0
        while True:
            body = {"subjects_filter": filter_subject, "offset": seen}
            page = await self.request(f"STREAM.INFO.{stream}", body)
            found: dict[str, int] = page["state"].get("subjects") or {}
            yield SubjectCount(found, page["state"]["last_seq"])
            seen += len(found)
            if not found or seen >= page.get("total", 0):
                return

    async def messages(self, stream: str) -> int:
        """Return how many messages a stream holds."""
        return int((await self.request(f"STREAM.INFO.{stream}"))["state"]["messages"])

    async def holds(self, stream: str, filter_subject: str) -> bool:
        """Tell whether a stream has a message that a filter matches."""
        try:
            await self.request(f"STREAM.MSG.GET.{stream}", {"last_by_subj": filter_subject})
        except ApiRefusedError as error:
            if error.err_code != NOT_FOUND:
                raise
            return False
        return True

    async def last_seq(self, stream: str) -> int:
        """Return the sequence of the last message that a stream has stored."""
        return int((await self.request(f"STREAM.INFO.{stream}"))["state"]["last_seq"])

    async def purge(self, stream: str, filter_subject: str, *, up_to: int | None = None) -> int:
        """Remove the messages that a filter matches, only those up to sequence `up_to` if given; return how many."""
        body: dict[str, Any] = {"filter": filter_subject}
        if up_to is not None:
            body["seq"] = up_to + 1  # the server keeps what has this sequence or a later one
        answer = await self.request(f"STREAM.PURGE.{stream}", body)
        return int(answer["purged"])


def _consumer_state(info: dict[str, Any]) -> ConsumerState:
    return ConsumerState(
        info["name"],
        info["num_pending"],
        info["num_ack_pending"],
        info["num_waiting"],
        info["ack_floor"]["stream_seq"],
    )
