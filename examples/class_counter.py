"""A class: loaded once in a container, with a state of its own for each set of parameters.

afield run examples/class_counter.py
"""
# mypy does not see what afield.parameter() adds to a constructor (pyright does):
# mypy: disable-error-code="call-arg"

import collections
import os
import random

import afield

app = afield.App("class-counter")


@app.cls(max_containers=1)
class WordCounter:
    """Counts words in the texts that it is given; each language has a container of its own."""

    language: str = afield.parameter()
    shortest: int = afield.parameter(default=1)

    @afield.enter()
    def load(self) -> None:
        """Runs once, before the first input: the place to load what is slow to load."""
        self.counts: collections.Counter[str] = collections.Counter()
        print(f"{self.language}: ready in process {os.getpid()}")

    @afield.method()
    def read(self, text: str) -> int:
        """Add the words of a text; return how many it had."""
        words = [word for word in text.lower().split() if len(word) >= self.shortest]
        self.counts.update(words)
        return len(words)

    @afield.method()
    def most_common(self, number: int) -> list[tuple[str, int]]:
        return sorted(self.counts.items(), key=lambda each: (-each[1], each[0]))[:number]

    @afield.exit()
    def leave(self) -> None:
        """Runs once, after the last input."""
        print(f"{self.language}: {self.counts.total()} words read")


@app.cls()
@afield.concurrent(max_inputs=20)
class Dice:
    """Twenty inputs at once in a container, in threads of it."""

    @afield.enter()
    def load(self) -> None:
        self.random = random.Random(1)

    @afield.method()
    def roll(self, sides: int) -> int:
        return self.random.randint(1, sides)


@app.function()
@afield.batched(max_batch_size=50, wait_ms=20)
def lengths(texts: list[str]) -> list[int]:
    """Callers give one text and get one length; the function gets many at once, as a model would."""
    print(f"a batch of {len(texts)}")
    return [len(text) for text in texts]


@app.local_entrypoint()
def main() -> None:
    english, latin = WordCounter(language="English"), WordCounter(language="Latin", shortest=3)
    print(
        "words:",
        english.read.remote("the cat and the dog"),
        latin.read.remote("in vino veritas et in aqua sanitas"),
    )
    english.read.for_each(["the end", "and the rest"])
    print("English:", english.most_common.remote(2))
    print("Latin:", latin.most_common.remote(2))

    rolls = list(Dice().roll.map([6] * 100))
    print(f"{len(rolls)} rolls, from {min(rolls)} to {max(rolls)}")
    print("lengths:", sum(lengths.map(["x" * n for n in range(100)])))
