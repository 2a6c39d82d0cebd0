"""Where the files that came with edged lie: cards, labels, the bundled models, the example configs."""

from pathlib import Path

_package = Path(__file__).resolve().parent
# in the wheel they are package data; in a checkout they lie beside the package
_root = _package / "share" if (_package / "share").is_dir() else _package.parent


def shipped(*parts: str) -> Path:
    """The path of a shipped file or folder, e.g. `shipped("models", "home.toml")`."""
    return _root.joinpath(*parts)
