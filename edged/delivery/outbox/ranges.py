"""A set of whole numbers most of which follow each other: a million of them take a few hundred bytes."""

from bisect import bisect_right
from collections.abc import Iterator


class Ranges:
    """Sorted. Adding and removing at either end, and asking, take the same time however many there are."""

    def __init__(self) -> None:
        self._first: list[int] = []
        self._last: list[int] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, n: int) -> bool:
        i = bisect_right(self._first, n) - 1
        return i >= 0 and n <= self._last[i]

    def __iter__(self) -> Iterator[int]:
        return self.since(0)

    def since(self, n: int) -> Iterator[int]:
        """From n on, the lowest first. Not to be changed meanwhile."""
        i = max(0, bisect_right(self._first, n) - 1)
        for first, last in zip(self._first[i:], self._last[i:], strict=True):
            yield from range(max(first, n), last + 1)

    def __reversed__(self) -> Iterator[int]:
        for first, last in zip(reversed(self._first), reversed(self._last), strict=True):
            yield from range(last, first - 1, -1)

    def add(self, n: int) -> bool:
        """Whether it was not there."""
        i = bisect_right(self._first, n) - 1
        if i >= 0 and n <= self._last[i]:
            return False
        joins_left = i >= 0 and self._last[i] == n - 1
        joins_right = i + 1 < len(self._first) and self._first[i + 1] == n + 1
        if joins_left and joins_right:
            self._last[i] = self._last[i + 1]
            del self._first[i + 1], self._last[i + 1]
        elif joins_left:
            self._last[i] = n
        elif joins_right:
            self._first[i + 1] = n
        else:
            self._first.insert(i + 1, n)
            self._last.insert(i + 1, n)
        self._count += 1
        return True

    def remove(self, n: int) -> bool:
        """Whether it was there."""
        i = bisect_right(self._first, n) - 1
        if i < 0 or n > self._last[i]:
            return False
        first, last = self._first[i], self._last[i]
        if first == last:
            del self._first[i], self._last[i]
        elif n == first:
            self._first[i] = n + 1
        elif n == last:
            self._last[i] = n - 1
        else:
            self._last[i] = n - 1
            self._first.insert(i + 1, n + 1)
            self._last.insert(i + 1, last)
        self._count -= 1
        return True
