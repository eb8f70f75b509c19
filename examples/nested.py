"""Functions that call functions: one container splits the work and maps it over others of the same app.

afield run examples/nested.py
afield run examples/nested.py --limit 10000000
"""

import itertools
import time

import afield

app = afield.App("nested")


@app.function()
def primes_between(start: int, end: int) -> int:
    """Count the primes in [start, end) with a sieve."""
    small = [p for p in range(2, int(end**0.5) + 1) if all(p % d for d in range(2, int(p**0.5) + 1))]
    is_prime = bytearray([1]) * (end - start)
    for p in small:
        first = max(p * p, -(-start // p) * p)
        is_prime[first - start :: p] = bytes(len(range(first - start, end - start, p)))
    for n in range(start, min(2, end)):
        is_prime[n - start] = 0
    return sum(is_prime)


@app.function()
def primes_below(limit: int, parts: int) -> int:
    """Count the primes below `limit`. Runs in a container, and asks other containers."""
    edges = [limit * i // parts for i in range(parts + 1)]
    counts = primes_between.starmap(itertools.pairwise(edges))
    return sum(counts)


@app.local_entrypoint()
def main(limit: int = 3_000_000, parts: int = 24) -> None:
    began = time.perf_counter()
    found = primes_below.remote(limit, parts)
    print(
        f"{found:,} primes below {limit:,}, counted in {parts} parts in {time.perf_counter() - began:.2f} s"
    )
