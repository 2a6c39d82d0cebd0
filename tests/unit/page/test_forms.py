"""The forms of the page, as they are served."""

import re

import pytest

from edged.page.routes import _STATIC


@pytest.mark.parametrize("page", ["login.html", "page.html"])
def test_nothing_is_sent_before_the_script_is_there(page: str) -> None:
    """A form without its script would only load the page again: what was typed would be gone, and nothing said."""
    buttons = re.findall(r"<button[^>]*>", (_STATIC / page).read_text())
    sending = [button for button in buttons if 'type="button"' not in button]
    assert sending and all(re.search(r"\sdisabled\b", button) for button in sending)
