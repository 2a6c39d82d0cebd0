"""One run of the page: tokens, TLS; then it listens until a signal."""

import asyncio
import logging
import os
import signal
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

from edged.errors import ConfigError, ReadError, UnavailableError
from edged.page.access import Guard, own_names
from edged.page.certificate import LARGEST_PEM_BYTES, watch_validity
from edged.page.courier import CourierLink
from edged.page.listener import Listener
from edged.page.routes import Page
from edged.page.tokens import load_tokens
from edged.page.viewers import Viewers
from edged.system.files import read_file
from edged.system.systemd import open_notify

log = logging.getLogger("edged")


@dataclass(frozen=True, slots=True)
class Serving:
    """What the config says of the page, as plain values. folder: the daemon's, with its socket; config: the file, for people."""

    host: str
    port: int
    names: tuple[str, ...]
    tls_cert: str
    tls_key: str
    shows_picture: bool
    folder: str
    config: str
    token_file: str


def run(serving: Serving) -> None:
    """Until SIGTERM or SIGINT. Raises EdgedError when it can't start."""
    guard = Guard(load_tokens(Path(serving.token_file)))
    asyncio.run(_run(serving, guard, _load_tls(serving.tls_cert, serving.tls_key)))


def _load_tls(cert: str, key: str) -> ssl.SSLContext | None:
    if not cert:
        return None
    _check_pem("tls_cert", cert, b"CERTIFICATE-----", "certificate")
    _check_pem("tls_key", key, b"PRIVATE KEY-----", "private key")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(cert, key, password="")  # else OpenSSL asks the terminal for one
    except (OSError, ssl.SSLError) as error:
        is_anothers = isinstance(error, ssl.SSLError) and error.reason == "KEY_VALUES_MISMATCH"
        why = "the key is another certificate's" if is_anothers else error.strerror or error.args[-1]
        raise ConfigError([f"page.tls_cert: {cert} and {key} can not be used: {why}"]) from None
    return context


def _check_pem(name: str, path: str, mark: bytes, what: str) -> None:
    """OpenSSL's own words are `PEM lib`, without which file. Raises ConfigError."""
    try:
        content = read_file(Path(path), LARGEST_PEM_BYTES)
    except ReadError as error:
        raise ConfigError([f"page.{name}: {path} can not be used: it {error.why}"]) from None
    if mark not in content:
        raise ConfigError([f"page.{name}: {path} can not be used: it holds no {what} as PEM"])
    if name == "tls_key" and b"ENCRYPTED" in content:
        cure = f"openssl pkey -in {path} -out KEY writes one without"
        raise ConfigError([f"page.{name}: {path} can not be used: it wants a pass phrase, and nobody is there to type it; {cure}"])


def _to_words(error: OSError | UnicodeError) -> str:
    if isinstance(error, UnicodeError):
        return "it is no name that a host can have"
    said = error.strerror if isinstance(error, socket.gaierror) or not error.errno else os.strerror(error.errno)
    return said or str(error)


async def _run(serving: Serving, guard: Guard, tls: ssl.SSLContext | None) -> None:
    viewers, notify, ended = Viewers(), open_notify(), asyncio.Event()
    courier = CourierLink(Path(serving.folder), viewers.tell)
    names = own_names(socket.gethostname(), serving.host, serving.names)
    page = Page(courier, viewers, guard, names, is_tls=tls is not None, shows_picture=serving.shows_picture, config=serving.config)
    listener = Listener(page.handle)
    try:
        await listener.start(serving.host, serving.port, tls)
    except (OSError, UnicodeError) as error:
        said = _to_words(error)
        why = f"{serving.host}, port {serving.port}: {said}"
        raise UnavailableError(f"the page can not listen on {why}; see page.host and page.port") from None
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    shown = f"[{serving.host}]" if ":" in serving.host else serving.host
    log.info("the page is at %s://%s:%d/; its token: sudo edged page token", "https" if tls else "http", shown, listener.port)
    notify.up()
    watching = asyncio.ensure_future(watch_validity(serving.tls_cert)) if tls is not None else None
    await ended.wait()
    notify.stopping()
    if watching is not None:
        watching.cancel()
    listener.close()
    courier.close()
