"""Programs that take their time."""

import time

import afield

app = afield.App("waiting")


@app.function()
def sleep() -> None:
    print("sleeping", flush=True)
    time.sleep(600)


@app.function()
def chatter() -> None:
    for number in range(1_000_000):
        print("line", number, flush=True)
        time.sleep(0.001)


@app.function()
def step(number: int) -> int:
    time.sleep(0.02)
    return number


@app.local_entrypoint()
def remote() -> None:
    sleep.remote()


@app.local_entrypoint()
async def remote_async() -> None:
    await sleep.remote.aio()


@app.local_entrypoint()
def local() -> None:
    print("sleeping", flush=True)
    time.sleep(600)


@app.local_entrypoint()
def steps(count: int = 100) -> None:
    for number in range(count):
        assert step.remote(number) == number
        print("step", number, flush=True)
