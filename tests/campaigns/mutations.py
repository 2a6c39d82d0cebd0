"""Seeded damage to files: what happens to bytes on SD cards, in downloads, and in the hands of somebody who means harm.

    for n, (what, damaged) in enumerate(mutated(original, seed=1, count=2000)): …

The same seed gives the same damage on every machine. Used for models, pictures and whatever else is a file.
"""

import random
from collections.abc import Callable, Iterator

Mutation = Callable[[random.Random, bytes], bytes]

# lengths and sizes that make parsers multiply, allocate and overflow
_EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1_000_000, 100_000_000)


def mutated(original: bytes, *, seed: int, count: int) -> Iterator[tuple[str, bytes]]:
    """`count` times (name of the damage, damaged copy); one to three kinds of damage each."""
    rng = random.Random(seed)
    for _ in range(count):
        damaged, names = original, []
        for _ in range(rng.choice((1, 1, 2, 3))):
            name = rng.choice(list(MUTATIONS))
            damaged = MUTATIONS[name](rng, damaged)
            names.append(name)
        yield "+".join(names), damaged


def _truncated(rng: random.Random, data: bytes) -> bytes:
    return data[: rng.choice((rng.randrange(len(data) + 1), rng.randrange(min(len(data), 64) + 1)))]


def _beheaded(rng: random.Random, data: bytes) -> bytes:
    return data[rng.randrange(min(len(data), 4096) + 1) :]


def _flipped_bits(rng: random.Random, data: bytes) -> bytes:
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 8, 64)) if data else 0):
        out[_place(rng, data)] ^= 1 << rng.randrange(8)
    return bytes(out)


def _random_bytes(rng: random.Random, data: bytes) -> bytes:
    out = bytearray(data)
    for _ in range(rng.choice((1, 8, 64, 512)) if data else 0):
        out[_place(rng, data)] = rng.randrange(256)
    return bytes(out)


def _extreme_numbers(rng: random.Random, data: bytes) -> bytes:
    """Sizes, counts and offsets become absurd: huge dimensions, endless vectors."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        number, width = rng.choice(_EXTREMES), rng.choice((1, 2, 4, 8))
        place = _place(rng, data)
        new = (number & (1 << 8 * width) - 1).to_bytes(width, rng.choice(("little", "big")))
        out[place : place + width] = new[: max(0, len(out) - place)]
    return bytes(out)


def _zeroed(rng: random.Random, data: bytes) -> bytes:
    """A block that was never written, as after a power cut."""
    start = _place(rng, data)
    size = min(rng.choice((16, 512, 4096, 65536)), len(data) - start)
    return data[:start] + bytes(size) + data[start + size :]


def _cut_out(rng: random.Random, data: bytes) -> bytes:
    start = _place(rng, data)
    return data[:start] + data[start + rng.randrange(1, 4096) :]


def _spliced(rng: random.Random, data: bytes) -> bytes:
    """A piece of the file stands where another one should."""
    source, target, size = _place(rng, data), _place(rng, data), rng.randrange(1, 4096)
    piece = data[source : source + size]
    return data[:target] + piece + data[target + len(piece) * rng.randrange(2) :]


def _grown(rng: random.Random, data: bytes) -> bytes:
    return data + rng.randbytes(rng.choice((1, 100, 10_000)))


def _replaced(rng: random.Random, data: bytes) -> bytes:
    """Not the file at all."""
    size = rng.choice((0, 1, 7, 64, 4096))
    return rng.choice((b"", bytes(size), rng.randbytes(size), data[:8] + rng.randbytes(size), b"<!DOCTYPE html><title>404</title>"))


def _place(rng: random.Random, data: bytes) -> int:
    """Half of them in the first KiB: headers are where damage tells."""
    return rng.randrange(max(1, min(len(data), 1024) if rng.random() < 0.5 else len(data)))


MUTATIONS: dict[str, Mutation] = {
    "truncated": _truncated,
    "beheaded": _beheaded,
    "flipped": _flipped_bits,
    "random": _random_bytes,
    "extreme": _extreme_numbers,
    "zeroed": _zeroed,
    "cut": _cut_out,
    "spliced": _spliced,
    "grown": _grown,
    "replaced": _replaced,
}
