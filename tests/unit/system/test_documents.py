"""TOML and JSON of strangers: what is too much is refused before it costs anything, and what is right is read as ever."""

import tomllib
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from edged.errors import ModelError
from edged.models.card import load_cards
from edged.system.documents import DEEPEST, load_toml, to_depth
from edged.system.files import shipped

LONG = "a." * 120_000 + "a = 1\n"
MOST_BYTES = 4 << 20  # that a refusal may take, whatever the file says


def peak_bytes(do: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        do()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "text", [LONG, f"[{LONG[:-5]}]\n", f"[[{LONG[:-5]}]]\n", f"x = {{{LONG[:-1]}}}", f"x = 1\n{LONG}", LONG.replace("a.", '"b".')]
)
def test_a_long_key_is_refused_before_the_parser_sees_it(text: str, tmp_path: Path) -> None:
    """tomllib keeps every beginning of it: gigabytes for the largest card that there may be."""

    def refused() -> None:
        with pytest.raises(ValueError, match=f"a key of more than {DEEPEST} parts"):
            load_toml(text[:200_000])

    assert peak_bytes(refused) < MOST_BYTES
    path = tmp_path / "x.toml"
    path.write_text(text[:200_000])
    with pytest.raises(ModelError, match="not a TOML file of cards: a key of more than"):
        load_cards(path)


@pytest.mark.parametrize("text", ["a = " + "[" * 40 + "]" * 40, "a = " + "[" * 60_000, "a = {b = " * 500, "[[" * 5000, "9" * 5000])
def test_what_is_too_deep_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        load_toml(text)


def test_too_many_keys() -> None:
    text = "".join(f"k{number} = 1\n" for number in range(101))
    assert len(load_toml(text, most_keys=101)) == 101
    with pytest.raises(ValueError, match="has more than 100 keys"):
        load_toml(text, most_keys=100)


@pytest.mark.parametrize("name", [("models", "home.toml"), ("models", "imagenet.toml"), ("config", "edged.toml")])
def test_what_is_shipped_is_read_as_tomllib_does(name: tuple[str, ...]) -> None:
    text = shipped(*name).read_text()
    assert load_toml(text) == tomllib.loads(text)


@pytest.mark.parametrize("content", [b"[" * 1_000_000, b'"' + b"\\x" * 1_000_000, b'"a",' * 500_000, b'{"a":' * 300_000])
def test_depth_is_counted_without_a_copy_of_the_file(content: bytes) -> None:
    assert peak_bytes(lambda: to_depth(content)) < 1 << 20
