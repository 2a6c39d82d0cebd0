"""How the broker is reached, and what may be told to whom on the way: TLS, the password, and where it may go in clear."""

import ipaddress
import os
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edged.errors import EdgedError, ReadError
from edged.system.files import read_file
from edged.system.text import shown_host

CREDENTIAL = "mqtt_password"  # the name of the systemd credential that is used when no password_file is set
_LARGEST_PASSWORD_BYTES = 64 * 1024
_NOT_YET_VALID = 9  # OpenSSL's X509_V_ERR_CERT_NOT_YET_VALID


# why there is no connection, where more is known than the sentence: the host's name, nobody who listens there, TLS, a certificate
# that begins to be valid later than now, the password's file, a password that must not go in clear
Cause = Literal["", "name", "nobody", "tls", "clock", "password_file", "plain_password", "silent", "nonsense"]


class AccessError(EdgedError):
    """The broker may not or can not be talked to in this way; the operator has to change something."""

    def __init__(self, cause: Cause, sentence: str) -> None:
        super().__init__(sentence)
        self.cause: Cause = cause


@dataclass(frozen=True, slots=True)
class Access:
    host: str = "localhost"
    port: int = 1883
    version: int = 5  # or 4, which is 3.1.1
    client_id: str = ""
    user: str = ""
    password_file: str = ""
    allow_plain_password: bool = False
    tls: bool = False
    tls_ca: str = ""
    tls_cert: str = ""
    tls_key: str = ""
    keepalive_s: int = 15
    max_packet_bytes: int = 0

    @property
    def encrypted(self) -> bool:
        return self.tls or bool(self.tls_ca)

    @property
    def place(self) -> str:
        host = shown_host(self.host)
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"

    @property
    def on_loopback(self) -> bool:
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost" or self.host.endswith(".localhost")


def load_password(access: Access) -> str | None:
    """The first line of the password file or of the systemd credential, where an empty line is no password.

    Raises AccessError when it can't be read.
    """
    path = Path(access.password_file) if access.password_file else _credential()
    if not access.user or path is None:
        return None
    try:
        text = read_file(path, _LARGEST_PASSWORD_BYTES).decode()
    except (ReadError, UnicodeDecodeError) as error:
        why = "it is not text"
        if isinstance(error, ReadError):
            why = os.strerror(error.number) if error.number is not None else error.why
        sentence = f"the MQTT password can not be read from {path}: {why}; check mqtt.password_file"
        raise AccessError("password_file", sentence) from None
    password = text.split("\n", 1)[0].rstrip("\r")
    return password if password or access.password_file else None  # the unit's own credential is an empty line


def _credential() -> Path | None:
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    path = Path(folder, CREDENTIAL) if folder else None
    return path if path and path.is_file() else None


def check_plain_password(access: Access) -> str:
    """A warning, or "" when there is no reason for one. Raises AccessError when the password must not go there in clear.

    Waits for the name service; raises OSError when it does not know the host.
    """
    if access.encrypted or access.on_loopback:
        return ""
    where = _farthest(access)
    if where == "loopback":
        return ""
    if where == "private":
        return f"the MQTT password goes unencrypted to {access.place} in your own network; set mqtt.tls_ca to encrypt it"
    if access.allow_plain_password:
        return (
            f"the MQTT password goes unencrypted to {access.place}, which is outside your own network (mqtt.allow_plain_password)"
        )
    raise AccessError(
        "plain_password",
        f"the MQTT password is not sent unencrypted to {access.place}, which is outside your own network;"
        " set mqtt.tls = true (or tls_ca), or mqtt.allow_plain_password = true if you must",
    )


def _farthest(access: Access) -> str:
    """ "loopback", "private" or "elsewhere": where the host's farthest address is."""
    if access.host.rstrip(".").endswith(".local"):
        return "private"
    found = socket.getaddrinfo(access.host, access.port, type=socket.SOCK_STREAM)
    addresses = [ipaddress.ip_address(str(where[0]).split("%")[0]) for *_, where in found]
    if all(address.is_loopback for address in addresses):
        return "loopback"
    return "private" if all(address.is_private or address.is_link_local for address in addresses) else "elsewhere"


def to_tls(access: Access) -> ssl.SSLContext | None:
    """None when the connection is not encrypted. Raises AccessError when a certificate can't be used."""
    if not access.encrypted:
        return None
    for key, path in (("tls_ca", access.tls_ca), ("tls_cert", access.tls_cert), ("tls_key", access.tls_key)):
        if path and not (Path(path).is_file() and os.access(path, os.R_OK)):  # a pipe would be waited for
            raise AccessError("tls", f"mqtt.{key}: {path} can not be read")
    try:
        context = ssl.create_default_context(cafile=access.tls_ca or None)
        if access.tls_ca:  # Python 3.13 wants extensions that an authority made at home, with openssl's own defaults, has not
            context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if access.tls_cert:
            context.load_cert_chain(access.tls_cert, access.tls_key or None)
    except (ssl.SSLError, OSError) as error:
        raise AccessError("tls", f"mqtt.tls_ca, tls_cert or tls_key can not be used: {error}") from None
    return context


def to_lost(error: BaseException) -> tuple[str, Cause]:
    """Why there is no connection, for people and for programs. Pure."""
    match error:
        case AccessError():
            return str(error), error.cause
        case socket.gaierror():
            return "its name is not known", "name"
        case UnicodeError():  # before anybody is asked for it
            return "its name is none that a host can have", "name"
        case ssl.SSLCertVerificationError(verify_code=code):
            return _to_words(error), "clock" if code == _NOT_YET_VALID else "tls"
        case ssl.SSLError():
            return _to_words(error), "tls"
        case ConnectionRefusedError():
            return _to_words(error), "nobody"
        case OSError():
            return _to_words(error), ""
        case _:
            return f"{error!r}", ""


def _to_words(error: OSError) -> str:
    return (error.strerror or str(error) or type(error).__name__).lower()
