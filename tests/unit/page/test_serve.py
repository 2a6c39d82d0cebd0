"""Where the page can not begin."""

from pathlib import Path

import pytest

from edged.errors import UnavailableError
from edged.page.serve import Serving, run
from edged.page.tokens import new_tokens


def test_a_host_that_none_can_be_is_said_in_words(tmp_path: Path) -> None:
    """The config refuses it; the page believes it only what it must."""
    new_tokens(tmp_path / "token")
    serving = Serving("cam..lan", 8080, (), "", "", False, str(tmp_path), "", str(tmp_path / "token"))
    with pytest.raises(UnavailableError, match=r"can not listen on cam\.\.lan, port 8080: it is no name that a host can have"):
        run(serving)
