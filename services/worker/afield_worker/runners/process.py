"""The `process` runner: containers are forks of a template process, each the leader of its own session."""

import math
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final, NamedTuple, Self

import anyio
import anyio.to_thread
from afield._wire.guest import Exited, Fork, Start
from afield_common.log import get_logger

from afield_worker.runners import memory
from afield_worker.runners.base import ContainerHandlers, RunnerError
from afield_worker.runners.container import ProcessContainer
from afield_worker.runners.memory import Limit
from afield_worker.runners.sweep import sweep
from afield_worker.runners.template import TemplateEndedError, TemplateProcess

MEMORY_CHECK_S: Final = 0.1
"""Seconds between looks at the memory of containers that have a limit."""
