"""Records of workers that a server kept, or brought back, after their time: nobody believes them, and they go."""

import time

import anyio
import pytest

from afield._bus.kv import Bucket
from afield._wire.codec import encode
from afield_common.clock import SystemClock
from afield_scheduler.pulse import SILENT_S
from afield_scheduler.service import SchedulerService
from afield_scheduler.settings import SchedulerSettings
from support.fake_worker import fake_worker
from support.fleet import worker
from support.nats import NatsServer
from support.services import connected, running
from support.waiting import until, until_true
from support.world import World, registry, server  # noqa: F401

pytestmark = pytest.mark.anyio


class Ahead(SystemClock):
    """A clock that can be set ahead."""

    by = 0.0

    def time(self) -> float:
        return super().time() + self.by

    def monotonic(self) -> float:
        return super().monotonic() + self.by
