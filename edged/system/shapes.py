"""What all parts mean by a region of a picture, how large one may be, and which shapes a graph must have. Pure."""

from collections.abc import Sequence
from typing import TypeGuard

from edged.errors import ModelError

Region = tuple[float, float, float, float]  # x, y, width, height: shares of the picture's sides, 0..1
WHOLE: Region = (0.0, 0.0, 1.0, 1.0)

LARGEST_PICTURE_PIXELS = 64_000_000  # what the largest camera module for a Pi takes; three bytes each
SMALLEST_PX, LARGEST_PX = 8, 1024  # of a side of a graph's input


def is_region(value: object) -> TypeGuard[list[float]]:
    """Of JSON: four numbers, inside the picture, and large enough to be looked at."""
    if not isinstance(value, list) or len(value) != 4 or not all(type(one) in (int, float) and 0 <= one <= 1 for one in value):
        return False
    x, y, width, height = map(float, value)
    return min(width, height) >= 0.01 and max(x + width, y + height) <= 1.001


def check_fixed(name: str, shape: Sequence[int], *, dynamic: bool) -> None:
    """dynamic: some side of the tensor is decided only when the graph runs. Raises ModelError."""
    if dynamic:
        raise ModelError(f"the graph's {name!r} has a dynamic shape ({to_text(shape)}): convert it with a fixed one, batch 1")


def check_input(shape: Sequence[int]) -> None:
    """One picture, (1, height, width, 3). Raises ModelError."""
    fits = len(shape) == 4 and shape[0] == 1 and shape[3] == 3
    if not fits or not all(SMALLEST_PX <= side <= LARGEST_PX for side in shape[1:3]):
        sides = f"sides of {SMALLEST_PX} to {LARGEST_PX} px"
        raise ModelError(f"the graph's input is {to_text(shape)}: edged needs 1×height×width×3, with {sides}")


def check_output(shape: Sequence[int]) -> None:
    """One row of scores, (1, labels). Raises ModelError."""
    if len(shape) != 2 or shape[0] != 1 or shape[1] < 2:
        kind = ", a map over the picture, like segmentation" if sum(side > 1 for side in shape) > 1 else ""
        raise ModelError(f"the graph's output is {to_text(shape)}{kind}: edged needs a classifier, with 1×labels scores")


def to_text(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape)) or "a single number"
