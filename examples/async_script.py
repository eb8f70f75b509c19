"""An ordinary asyncio program: every method has an `.aio` form, and `async with app.run()` starts the app.

python examples/async_script.py
"""

import asyncio
import time

import afield

app = afield.App("async-script")


@app.function()
async def nap(seconds: float) -> float:
    """Asynchronous functions run on an event loop in their container."""
    await asyncio.sleep(seconds)
    return seconds


async def main() -> None:
    async with app.run():
        await nap.remote.aio(0)  # the first call starts a container

        began = time.perf_counter()
        slept = await asyncio.gather(*(nap.remote.aio(0.2) for _ in range(4)))
        print(f"{sum(slept):.1f} s of naps in {time.perf_counter() - began:.1f} s, by gather")

        async for seconds in nap.map.aio([0.03, 0.01, 0.02], order_outputs=False):
            print(f"slept {seconds} s")


if __name__ == "__main__":
    asyncio.run(main())
