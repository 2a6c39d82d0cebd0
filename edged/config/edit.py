"""Writing into the operator's config, with its comments and its order kept: the one door to tomlkit."""

from pathlib import Path

import tomlkit
from tomlkit.exceptions import TOMLKitError

from edged.config.reading import SYSTEM_FILE
from edged.errors import ConfigError, WriteError
from edged.system.files import write_file


def write_model_name(path: Path | None, name: str) -> Path:
    """Set `model.name` in the file; where it was written. Raises ConfigError or WriteError, and then nothing was changed."""
    path = (path or SYSTEM_FILE).resolve()  # a link stays one
    try:
        text, mode = path.read_text("utf-8"), path.stat().st_mode & 0o777
        document = tomlkit.parse(text)
    except OSError as error:
        raise WriteError(f"{path}: cannot be read: {error.strerror}") from None
    except (TOMLKitError, ValueError) as error:
        raise ConfigError([f"{path}: not TOML: {error}"]) from None
    document.setdefault("model", tomlkit.table())["name"] = name
    write_file(path, tomlkit.dumps(document).encode(), mode)
    return path
