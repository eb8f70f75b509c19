"""Discovery of services, as the NATS tools expect it: PING, INFO and STATS under `$SRV` (ADR-32), in JSON."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from anyio.abc import TaskGroup

from afield._bus.connection import Bus
from afield._bus.msg import Msg
from afield._bus.subscription import Subscription

VERBS: Final = ("PING", "INFO", "STATS")


@dataclass
class EndpointStats:
    """What `nats micro stats` shows of one endpoint. Times are nanoseconds."""

    name: str
    subject: str
    queue_group: str
    num_requests: int = 0
    num_errors: int = 0
    last_error: str = ""
    processing_time: int = 0

    def as_json(self) -> dict[str, Any]:
        """Return the statistics as the protocol spells them."""
        done = max(self.num_requests, 1)
        return {
            "name": self.name,
            "subject": self.subject,
            "queue_group": self.queue_group,
            "num_requests": self.num_requests,
            "num_errors": self.num_errors,
            "last_error": self.last_error,
            "processing_time": self.processing_time,
            "average_processing_time": self.processing_time // done,
        }


@dataclass
class Discovery:
    """Tells who this instance is, and how its endpoints fare."""

    bus: Bus
    instance_id: str
    name: str
    version: str
    metadata: dict[str, str]
    endpoints: dict[str, EndpointStats] = field(default_factory=dict)
    """By subject."""
    started: datetime = field(default_factory=lambda: datetime.now(UTC))

    async def subscribe(self, tasks: TaskGroup) -> dict[str, Subscription]:
        """Answer `$SRV.<verb>[.<name>[.<id>]]`; return the subscriptions by subject."""
        subscriptions = {}
        for verb in VERBS:
            for suffix in ("", f".{self.name}", f".{self.name}.{self.instance_id}"):
                subject = f"$SRV.{verb}{suffix}"
                subscriptions[subject] = await self.bus.subscribe(subject, self._responder(tasks, verb))
        return subscriptions

    def _responder(self, tasks: TaskGroup, verb: str) -> Callable[[Msg], None]:
        def respond(msg: Msg) -> None:
            if msg.reply:
                tasks.start_soon(self.bus.publish, msg.reply, json.dumps(self.describe(verb)).encode())

        return respond

    def describe(self, verb: str) -> dict[str, Any]:
        """Return the answer to a PING, INFO or STATS."""
        answer: dict[str, Any] = {
            "type": f"io.nats.micro.v1.{verb.lower()}_response",
            "name": self.name,
            "id": self.instance_id,
            "version": self.version,
            "metadata": self.metadata,
        }
        if verb == "INFO":
            answer["description"] = f"afield {self.name}"
            answer["endpoints"] = [
                {"name": e.name, "subject": e.subject, "queue_group": e.queue_group, "metadata": {}}
                for e in self.endpoints.values()
            ]
        elif verb == "STATS":
            answer["started"] = self.started.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            answer["endpoints"] = [e.as_json() for e in self.endpoints.values()]
        return answer
