"""Writing into the operator's config, with its comments and its order kept: the one door to tomlkit."""

import os
from pathlib import Path

import tomlkit
from tomlkit.exceptions import TOMLKitError

from edged.config.reading import SYSTEM_FILE
from edged.config.source import LONGEST, faults_of, load_source
from edged.system.files import PRIVATE, acting_for, read_file, write_file


def write_model_name(path: Path | None, name: str) -> Path:
    """Set `model.name` in the file; where it was written. Raises ConfigError or WriteError, and then nothing was changed."""
    given = path or SYSTEM_FILE
    with acting_for(given):  # a link that somebody else planted leads root nowhere
        path = Path(os.path.realpath(given))  # a link stays one
        load_source(path)  # the bounds of what is a config hold here too
        with faults_of(path):
            like = path.stat()
            try:
                document = tomlkit.parse(read_file(path, LONGEST).decode())
                document.setdefault("model", tomlkit.table())["name"] = name
                content = tomlkit.dumps(document).encode()
            except TOMLKitError as error:
                raise ValueError(str(error)) from None
        write_file(path, content, PRIVATE, like=like)
    return path
