"""The Celery app and its tasks, which client and worker both import."""

import os
import time

from celery import Celery, chord

app = Celery("peers", broker=os.environ["PEERS_REDIS"], backend=os.environ["PEERS_REDIS"])
app.conf.update(
    accept_content=["json", "pickle"],
    result_serializer="pickle",
    broker_connection_retry_on_startup=True,
    # What the documentation advises for many short tasks.
    worker_prefetch_multiplier=64,
)


@app.task
def noop(value):
    return value


@app.task
def nap(seconds):
    time.sleep(seconds)
    return seconds


@app.task(serializer="pickle")
def echo(data):
    return data


@app.task
def add(values):
    return sum(values)


@app.task(bind=True)
def total(self, count):
    # A task must not wait for others: it puts them, and what is done with their results, in its own place.
    raise self.replace(chord([noop.s(number) for number in range(count)], add.s()))
