"""The broker of Taskiq and its tasks, which client and worker both import."""

import asyncio
import os

import taskiq
from taskiq_nats import NATSObjectStoreResultBackend, PullBasedJetStreamBroker

URL = os.environ["PEERS_NATS"]

broker = PullBasedJetStreamBroker(servers=URL).with_result_backend(NATSObjectStoreResultBackend(servers=URL))


@broker.task
async def noop(value: int) -> int:
    return value


@broker.task
async def batch(values: list[int]) -> list[int]:
    return values


@broker.task
async def nap(seconds: float) -> float:
    await asyncio.sleep(seconds)
    return seconds


@broker.task
async def echo(text: str) -> str:
    return text


@broker.task
async def total(count: int) -> int:
    calls = await asyncio.gather(*(noop.kiq(number) for number in range(count)))
    return sum(result.return_value for result in await taskiq.gather(*calls, periodicity=0.01))
