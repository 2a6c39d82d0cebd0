"""Views of a picture as a camera may have them: cut, tilted, far, blurred, dark, grey; and surfaces with nothing on them."""

import cv2
import numpy as np
from collection import shrunk

_NOISE = np.random.default_rng(16).standard_normal(1 << 21).astype(np.float32)


def surface(rng: np.random.Generator, px: int) -> np.ndarray:
    """(px, px, 3) uint8: grain, a slope of light, or a wall of tiles or bricks, in any colour."""
    kind = rng.integers(3)
    if kind == 0:
        grain = 2 ** int(rng.integers(2, 8))
        pattern = cv2.resize(rng.standard_normal((grain, grain)).astype(np.float32), (px, px), interpolation=cv2.INTER_CUBIC)
    elif kind == 1:
        y, x = np.mgrid[-1 : 1 : px * 1j, -1 : 1 : px * 1j]
        turn = rng.uniform(0, 2 * np.pi)
        pattern = np.cos(turn) * x + np.sin(turn) * y + rng.uniform(0, 1) * (x * x + y * y)
    else:
        high, wide = px * rng.uniform(0.04, 0.2), px * rng.uniform(0.06, 0.35)
        y, x = np.mgrid[0:px, 0:px]
        row = y // high
        joint = (y % high < px / 60) | ((x + row % 2 * wide * rng.choice([0, 0.5])) % wide < px / 60)
        pattern = np.where(joint, rng.uniform(-2, 2), rng.standard_normal((px, px)) * 0.3)
    colour = rng.uniform(20, 235, 3) if rng.random() < 0.7 else np.full(3, rng.uniform(5, 235))
    return np.clip(colour + rng.uniform(5, 60) * pattern[..., None].astype(np.float32), 0, 255).astype(np.uint8)


def aloft(rng: np.random.Generator, picture: np.ndarray, px: int) -> np.ndarray:
    """(px, px, 3) uint8: a thing alone before the sky, water or a wall, which every small network takes for a bird at first."""
    y = np.linspace(0, 1, px, dtype=np.float32)[:, None, None]
    top, bottom = (
        rng.uniform((90, 120, 150), (200, 220, 255)),
        rng.uniform(120, 255, 3) if rng.random() < 0.4 else rng.uniform(170, 245),
    )
    back = (
        top * (1 - y)
        + bottom * y
        + cv2.resize(rng.normal(0, 10, (6, 6, 1)).astype(np.float32), (px, px), interpolation=cv2.INTER_CUBIC)[..., None]
    )
    w, h = (rng.uniform(0.12, 0.6, 2) * px).astype(int) + 4
    x, y0 = rng.integers(0, px - w), rng.integers(0, px - h)
    thing = cv2.resize(picture, (int(w), int(h)), interpolation=cv2.INTER_AREA).astype(np.float32) * rng.uniform(0.3, 1)
    rows, columns = np.mgrid[-1 : 1 : h * 1j, -1 : 1 : w * 1j]
    lump = (np.abs(rows) ** rng.uniform(1, 4) + np.abs(columns) ** rng.uniform(1, 4) < 0.9).astype(np.float32)[..., None]
    lump = lump * (np.abs(thing - thing[0, 0]).max(2, keepdims=True) > 12)  # most of these things stand before one colour
    there = back[y0 : y0 + h, x : x + w]
    back[y0 : y0 + h, x : x + w] = there * (1 - lump) + thing * lump
    return np.clip(back, 0, 255).astype(np.uint8)


def cut(rng: np.random.Generator, picture: np.ndarray, px: int, least: float) -> np.ndarray:
    """A part of at least `least` of the area, its sides stretched a little, tilted, mirrored half of the time; one warp."""
    high, wide = picture.shape[:2]
    share, stretch = np.sqrt(rng.uniform(least, 1)), np.exp(rng.uniform(-0.2, 0.2))
    w, h = min(wide, wide * share * stretch), min(high, high * share / stretch)
    x, y = rng.uniform(0, wide - w + 1e-6), rng.uniform(0, high - h + 1e-6)
    tilt = rng.normal(0, 0.07)
    mirror = -1 if rng.random() < 0.5 else 1
    to = np.array(
        [[mirror * w / px * np.cos(tilt), -h / px * np.sin(tilt)], [mirror * w / px * np.sin(tilt), h / px * np.cos(tilt)]]
    )
    middle = np.array([x + w / 2, y + h / 2])
    matrix = np.column_stack([to, middle - to @ [px / 2, px / 2]])
    return cv2.warpAffine(
        picture, matrix, (px, px), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REFLECT_101
    )


def blurred(rng: np.random.Generator, view: np.ndarray) -> np.ndarray:
    """Three in ten are as from a cheap, far or out of focus camera, or compressed too much."""
    chance, px = rng.random(), view.shape[0]
    if chance < 0.12:
        small = int(rng.integers(28, 64))
        return cv2.resize(cv2.resize(view, (small, small), interpolation=cv2.INTER_AREA), (px, px))
    if chance < 0.2:
        return cv2.GaussianBlur(view, (0, 0), rng.uniform(0.5, 1.5))
    if chance < 0.3:
        return cv2.imdecode(cv2.imencode(".jpg", view, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(15, 60))])[1], cv2.IMREAD_COLOR)
    return view


def lit(rng: np.random.Generator, view: np.ndarray) -> np.ndarray:
    """(px, px, 3) uint8 -> float32 in -1..1: contrast, brightness, white balance, grey by night, sensor noise."""
    gain = rng.uniform(0.5, 1.4) if rng.random() > 0.06 else rng.uniform(0.08, 0.3)  # some are nearly dark
    offset = rng.uniform(-45, 45) * min(1.0, gain) + rng.uniform(-15, 15, 3)
    mix = np.eye(3) if rng.random() > 0.15 else np.full((3, 3), 1 / 3)
    matrix = np.column_stack([mix * gain, offset + 127.5 * (1 - gain) * (gain > 0.4) - 127.5]) / 127.5
    out = cv2.transform(view.astype(np.float32), matrix)
    start = int(rng.integers(len(_NOISE) - out.size))
    out += _NOISE[start : start + out.size].reshape(out.shape) * np.float32(rng.uniform(0, 8) / 127.5)
    return np.clip(out, -1, 1, out=out)


def worn(rng: np.random.Generator, picture: np.ndarray, px: int) -> np.ndarray:
    """One changed view as (px, px, 3) uint8: gentler than in training, for the head's second look."""
    view = cut(rng, shrunk(picture, max(px, 160)), px, 0.5)
    return ((lit(rng, blurred(rng, view)) + 1) * 127.5).round().astype(np.uint8)
