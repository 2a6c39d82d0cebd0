"""What may be shown to people of what strangers wrote: file names, messages, addresses. Pure."""

import re


def printable(text: str) -> str:
    """Names and messages may hold anything, and a terminal obeys much of it."""
    return "".join(c if c.isprintable() else "?" for c in text)


def without_password(source: str) -> str:
    """A camera's address as it may be shown: cameras want name and password in it."""
    return re.sub(r"(^|//)[^/@]*@", r"\1", source)
