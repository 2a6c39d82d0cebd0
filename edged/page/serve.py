"""One run of the page: tokens, TLS; then it listens until a signal."""

import asyncio
import logging
import signal
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

from edged.errors import ConfigError, UnavailableError
from edged.page.access import Guard, own_names
from edged.page.courier import CourierLink
from edged.page.listener import Listener
from edged.page.routes import Page
from edged.page.tokens import load_tokens
from edged.page.viewers import Viewers
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
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(cert, key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError([f"page.tls_cert: {cert} and {key} can not be used: {error.strerror or error.args[-1]}"]) from None
    return context


async def _run(serving: Serving, guard: Guard, tls: ssl.SSLContext | None) -> None:
    viewers, notify, ended = Viewers(), open_notify(), asyncio.Event()
    courier = CourierLink(Path(serving.folder), viewers.tell)
    names = own_names(socket.gethostname(), serving.host, serving.names)
    page = Page(courier, viewers, guard, names, is_tls=tls is not None, shows_picture=serving.shows_picture, config=serving.config)
    listener = Listener(page.handle)
    try:
        await listener.start(serving.host, serving.port, tls)
    except OSError as error:
        why = f"{serving.host}, port {serving.port}: {error.strerror or error}"
        raise UnavailableError(f"the page can not listen on {why}; see page.host and page.port") from None
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    shown = f"[{serving.host}]" if ":" in serving.host else serving.host
    log.info("the page is at %s://%s:%d/; its token: sudo edged page token", "https" if tls else "http", shown, listener.port)
    notify.up()
    await ended.wait()
    notify.stopping()
    listener.close()
    courier.close()
