"""The two tokens: one that may change things, one that may only look. A file of two lines that root makes and nobody else reads."""

import os
import re
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path

from edged.errors import EdgedError, ReadError, WriteError
from edged.system.files import PRIVATE, read_file, write_file

FILE = Path("/etc/edged/page_token")
CREDENTIAL = "page_token"  # the name of the systemd credential
_LONGEST_BYTES = 1024
_TOKEN = re.compile(r"[A-Za-z0-9_-]{22,100}")
_BYTES = 18  # of randomness: 144 bits, 24 characters


@dataclass(frozen=True, slots=True)
class Tokens:
    control: str
    view: str

    def __repr__(self) -> str:
        return "Tokens(…)"  # never into a log


class TokenError(EdgedError):
    """The operator has to make a token, or to close its file."""

    exit_code = 78


def find_file() -> Path:
    """What systemd handed over, else root's file."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    handed = Path(folder, CREDENTIAL) if folder else None
    return handed if handed is not None and handed.is_file() else FILE


def load_tokens(path: Path) -> Tokens:
    """Raises TokenError with what to do."""
    try:
        lines = read_file(path, _LONGEST_BYTES).decode("ascii").split("\n")
        mode = stat.S_IMODE(path.stat().st_mode)
    except ReadError as error:
        cure = "make one: sudo edged page token --new" if error.is_absent else "be root, or let systemd hand it over"
        raise TokenError(f"{path}: {error.why}: nobody gets in without a token; {cure}") from None
    except (UnicodeDecodeError, OSError):
        raise TokenError(f"{path}: holds no token; make one: sudo edged page token --new") from None
    if mode & 0o077 and not _is_handed_over(path):
        raise TokenError(f"{path}: others may read it; sudo chmod 600 {path}, and make new ones: sudo edged page token --new")
    found = [line.strip() for line in lines if line.strip()]
    if len(found) != 2 or found[0] == found[1] or not all(_TOKEN.fullmatch(one) for one in found):
        raise TokenError(f"{path}: holds no two tokens, a line each; make them: sudo edged page token --new")
    return Tokens(*found)


def _is_handed_over(path: Path) -> bool:
    """systemd guards its own files by the folder, and an access list."""
    return path.parent == Path(os.environ.get("CREDENTIALS_DIRECTORY", "/nowhere"))


def new_tokens(path: Path) -> Tokens:
    """Write new ones in place of the old, which end with the page's next start. Raises WriteError."""
    if path.exists() and not path.is_file():
        raise WriteError(f"{path}: cannot be written: it is no file")
    made = Tokens(secrets.token_urlsafe(_BYTES), secrets.token_urlsafe(_BYTES))
    write_file(path, f"{made.control}\n{made.view}\n".encode(), PRIVATE)
    return made
