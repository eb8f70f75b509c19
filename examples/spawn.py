"""Calls that are started now and asked for later, by the object or by its id.

afield run examples/spawn.py
"""

import hashlib

import afield

app = afield.App("spawn")


@app.function()
def mine(block: str, zeros: int) -> int:
    """Find a number that makes the SHA-256 of `block` and the number begin with `zeros` zeros."""
    target, nonce = "0" * zeros, 0
    while not hashlib.sha256(f"{block}{nonce}".encode()).hexdigest().startswith(target):
        nonce += 1
    return nonce


@app.local_entrypoint()
def main(zeros: int = 4) -> None:
    blocks = ["genesis", "second", "third"]
    calls = [mine.spawn(block, zeros) for block in blocks]
    print("started:", *(call.object_id for call in calls))

    try:
        print("already there:", calls[0].get(timeout=0))
    except TimeoutError:
        print("not ready yet, as expected; waiting for all of them")

    nonces = afield.FunctionCall.gather(*calls)
    for block, nonce in zip(blocks, nonces, strict=True):
        print(f"{block}: {nonce} -> {hashlib.sha256(f'{block}{nonce}'.encode()).hexdigest()}")

    # The id is a plain string: keep it anywhere, and come back for the result.
    later = afield.FunctionCall.from_id(calls[1].object_id)
    print("again, by id:", later.get())

    hopeless = mine.spawn("unlucky", zeros=64)
    hopeless.cancel()
    try:
        hopeless.get()
    except afield.exception.Error as error:
        print(f"cancelled: {type(error).__name__}")
