"""Errors that are for the operator: one sentence each — what happened, where, and what to do — and an exit code.

Whatever is not one of these is a bug, and is allowed its traceback. The table of codes is in docs/exit-codes.md.
"""

import errno
from pathlib import Path
from typing import Literal

OK = 0
FAILED = 1  # something that was asked for did not work; or a bug
USAGE = 2  # a wrong option or argument
UNAVAILABLE = 69  # nothing fits, no camera, no broker, no daemon to talk to
IO_FAILED = 74  # a file or folder that must be written cannot be
RUNNING = 75  # another edged has this state folder
CONFIG = 78  # the operator's mistake in the config; systemd does not restart


class EdgedError(Exception):
    """Something that the operator can understand and mend. `str()` is the sentence."""

    exit_code = FAILED


class UnavailableError(EdgedError):
    exit_code = UNAVAILABLE


class WriteError(EdgedError):
    exit_code = IO_FAILED


class ReadError(EdgedError):
    """A file that is not read. `why` is the reason without the path, for people; `kind` says it for programs.

    kind: no regular file, larger than what is read, refused by the system (`number`: its errno), or not what belongs there.
    """

    def __init__(
        self,
        path: Path,
        why: str,
        number: int | None = None,
        kind: Literal["no_file", "too_large", "system", "content"] = "content",
    ) -> None:
        super().__init__(f"{path}: {why}")
        self.why, self.number, self.kind = why, number, kind

    @property
    def is_absent(self) -> bool:
        return self.number in (errno.ENOENT, errno.ENOTDIR)


class RunningError(EdgedError):
    exit_code = RUNNING


class ConfigError(EdgedError):
    """Every fault of a config at once, one per line: `FILE:LINE: key: what is wrong`. lines: of each; 0 where nobody knows it."""

    exit_code = CONFIG

    def __init__(self, faults: list[str], lines: list[int] | None = None) -> None:
        super().__init__("\n".join(faults))
        self.faults, self.lines = faults, lines or [0] * len(faults)


class NoProfileError(ConfigError):
    """A wish for a profile that the config has not: the config has no fault, and is not to be mended."""

    exit_code = FAILED


class ModelError(EdgedError):
    """A model file that cannot be used, and why."""


class ModelFileError(ModelError):
    """The file can't be read, or is not the one that was meant: it says nothing of that one. The sentence begins with its path."""


class LabelsError(ModelError):
    """The labels are to blame, and not the model's file."""
