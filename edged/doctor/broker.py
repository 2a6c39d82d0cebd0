"""The broker: there, lets us in, passes our topics on, takes our messages, and nobody else uses our client id."""

import json
import shlex
import socket
from collections.abc import Iterator
from dataclasses import dataclass

from edged.delivery.broker.access import Access
from edged.doctor.broker_talk import Talk, talk
from edged.doctor.finding import Finding, fail, ok, skipped, warn
from edged.doctor.mosquitto import DROP_INS, RELOAD, RESTART, Mosquitto, listener_lines
from edged.system.text import printable

CHECKS = ("broker-reach", "broker-login", "broker-topics", "broker-limits", "client-id", "device-id")
_SMALL_BYTES = 128
_LONGEST_BYTES = 4096  # `health` and `model` are the longest of what is always sent
_BAD_USER, _NOT_AUTHORISED, _BAD_VERSION = 0x86, 0x87, (0x84, 0x01)
_REFUSALS = {_BAD_USER: "bad user name or password", _NOT_AUTHORISED: "not authorized"}


@dataclass(frozen=True, slots=True)
class Settable:
    """Commands that set a key of edged.toml: the MQTT version to the other one, an own client id, the CA's certificate."""

    version: str
    client_id: str
    tls_ca: str


@dataclass(frozen=True, slots=True)
class RunningDaemon:
    """The daemon that runs here with this config: its process (0: none does), and the kinds of its faults."""

    pid: int = 0
    faults: tuple[str, ...] = ()


def check_broker(
    access: Access, base: str, here: Mosquitto, settable: Settable, running: RunningDaemon, *, snapshot_bytes: int
) -> Iterator[Finding]:
    """Six findings. `base`: prefix/device."""
    if here.value("use_username_as_clientid") == "true" and access.user and running.pid and access.on_loopback:
        why = "use_username_as_clientid: a probe would throw the running daemon out; stop it first"
        yield from (skipped(check, why) for check in CHECKS)
        return
    sizes = (_SMALL_BYTES, _LONGEST_BYTES, *([snapshot_bytes] if snapshot_bytes > _LONGEST_BYTES else []))
    heard = talk(access, base, sizes)
    if not heard.accepted:
        yield from _not_let_in(access, here, heard, settable)
        yield from (skipped(check, "see above") for check in CHECKS[2:])
        return
    yield ok(
        "broker-reach",
        f"{access.place} answers, MQTT {'5' if access.version == 5 else '3.1.1'}{', encrypted' if access.encrypted else ''}",
    )
    yield _login(access, heard)
    topics = check_topics(access, base, here, heard)
    yield topics
    yield (
        check_limits(here, heard, sizes, snapshot_bytes) if topics.state == "ok" else skipped("broker-limits", "see broker-topics")
    )
    yield check_client_id(access, heard, running, settable.client_id)
    yield check_device_id(heard)


def _login(access: Access, heard: Talk) -> Finding:
    if heard.warning:
        return warn("broker-login", heard.warning, "# copy the broker's CA certificate here and set mqtt.tls_ca")
    return ok("broker-login", f"as {access.user}" if access.user else "without a password")


def _not_let_in(access: Access, here: Mosquitto, heard: Talk, settable: Settable) -> Iterator[Finding]:
    if heard.code in _REFUSALS:
        yield ok("broker-reach", f"{access.place} answers")
        yield check_login(access, here, heard)
        return
    if heard.cause in ("password_file", "plain_password"):
        yield skipped("broker-reach", "see broker-login")
        yield (
            skipped("broker-login", f"{heard.lost}: sudo edged doctor")
            if heard.cause == "password_file"
            else fail("broker-login", heard.lost, settable.tls_ca)
        )
        return
    yield check_reach(access, here, heard, settable)
    yield skipped("broker-login", "see broker-reach")


def check_login(access: Access, here: Mosquitto, heard: Talk) -> Finding:
    """A new password is copied from the file to Mosquitto by the command itself, so that nobody sees it."""
    who, passwords = access.user or "who gives no name", here.file_of("password_file") and here.value("password_file")
    said = f"{access.place} refuses {who}: {_REFUSALS[heard.code]}"
    local = here.installed and _is_own(access)
    if not access.user:
        if not local:
            return fail(
                "broker-login",
                said,
                f"# ask who runs {access.host} for a name and a password; set mqtt.user and mqtt.password_file",
            )
        return fail(
            "broker-login",
            said,
            f"{_allow_anonymous(here)} && {RESTART}\n# better: mosquitto_passwd(1), and mqtt.user and mqtt.password_file here",
        )
    if local and access.password_file:
        target = passwords or "/etc/mosquitto/passwd"
        new = "" if passwords else " -c"
        add = f"echo 'password_file {target}' | sudo tee {DROP_INS}/passwords.conf"
        own = "" if passwords else f" && sudo chgrp mosquitto {target} && sudo chmod 640 {target} && {add}"
        # inside of root's shell, so that neither sudo's log nor the list of processes of the asking user gets to see it
        words = f"{new} -b {shlex.quote(target)} {shlex.quote(access.user)}"
        inside = f'mosquitto_passwd{words} "$(head -n 1 {shlex.quote(access.password_file)})"'
        set_it = f"sudo sh -c {shlex.quote(inside)}"
        cure = f"{set_it}{own} && {RELOAD if passwords else RESTART}"
        return fail("broker-login", said, cure)
    file = shlex.quote(access.password_file or "/etc/edged/mqtt_password")
    return fail(
        "broker-login", said, f"# the first line is the password of {access.user} at {access.host}:\nsudo ${{EDITOR:-nano}} {file}"
    )


def _allow_anonymous(here: Mosquitto) -> str:
    file = here.file_of("allow_anonymous")
    if file:
        return rf"sudo sed -i 's/^\s*allow_anonymous\s.*/allow_anonymous true/' {shlex.quote(file)}"
    return f"echo 'allow_anonymous true' | sudo tee -a {here.file_of('listener') or f'{DROP_INS}/listener.conf'}"


def check_reach(access: Access, here: Mosquitto, heard: Talk, settable: Settable) -> Finding:
    said = f"{access.place}: {heard.lost}"
    if heard.code in _BAD_VERSION:
        return fail("broker-reach", f"{said}: it does not speak MQTT {'5' if access.version == 5 else '3.1.1'}", settable.version)
    if heard.cause == "clock":
        return fail("broker-reach", f"{said}; is the clock right?", "sudo timedatectl set-ntp true")
    if heard.cause == "tls":
        return fail("broker-reach", said, settable.tls_ca)
    if heard.cause == "name":
        return fail("broker-reach", said, f"getent hosts {shlex.quote(access.host)}  # nothing? then set mqtt.host to its address")
    if heard.cause == "nobody" and _is_own(access):
        return _nobody_here(access, here, said)
    if heard.cause == "nobody":
        lines = listener_lines(access.port).replace("\n", "\n# ")
        return fail("broker-reach", f"{said}; a fresh Mosquitto answers its own machine only", f"# on {access.host}:\n# {lines}")
    return fail("broker-reach", said, f"ping -c 3 {shlex.quote(access.host)}\nip -brief address")


def _nobody_here(access: Access, here: Mosquitto, said: str) -> Finding:
    if not here.installed:
        return fail("broker-reach", f"{said}; there is no broker on this machine", "sudo apt install mosquitto")
    ports = [port for port, _ in here.listeners]
    local_only = all(address in ("127.0.0.1", "::1", "localhost") for port, address in here.listeners if port == access.port)
    if not access.on_loopback and (not ports or local_only):
        return fail(
            "broker-reach",
            f"{said}; Mosquitto is here and answers localhost only: it has no listener line",
            listener_lines(access.port, here),
        )
    if ports and access.port not in ports:
        lines = listener_lines(access.port, here)
        cure = f"# set mqtt.port to {ports[0]}, or let Mosquitto listen on {access.port} as well:\n{lines}"
        return fail("broker-reach", f"{said}; Mosquitto listens on {', '.join(map(str, ports))}", cure)
    return fail(
        "broker-reach",
        f"{said}; Mosquitto is here and does not run",
        f"sudo systemctl enable mosquitto && {RESTART}\nsudo journalctl -u mosquitto -n 20 --no-pager",
    )


def check_topics(access: Access, base: str, here: Mosquitto, heard: Talk) -> Finding:
    """A message to ourselves. Mosquitto does not say that a subscription is worth nothing: only what comes back counts."""
    if _SMALL_BYTES in heard.echoed:
        return ok("broker-topics", f"{base}/# can be written and read")
    code = heard.acknowledged.get(_SMALL_BYTES)
    if heard.lost:
        return fail(
            "broker-topics",
            f"a message to {base}/doctor ended the connection: {heard.lost}",
            "sudo journalctl -u mosquitto -n 20 --no-pager",
        )
    refused = code is not None and code >= 0x80
    said = (
        f"{base}/doctor can not be written (0x{code:02x})"
        if refused
        else f"what is written to {base}/doctor does not come back: the ACL forbids it"
    )
    rule = f"topic readwrite {base}/#"
    file = here.value("acl_file")
    if file and _is_own(access):
        quoted = shlex.quote(file)
        if access.user:
            rules = shlex.quote(rf"\nuser {access.user}\n{rule}\n")
            cure = f"printf {rules} | sudo tee -a {quoted} && {RELOAD}"
        else:
            cure = (
                f"sudo sed -i {shlex.quote(f'1i {rule}')} {quoted} && {RELOAD}"  # what stands before the first user is for nobody
            )
        return fail("broker-topics", said, cure)
    return fail("broker-topics", said, f"# in the ACL of {access.host}, for {access.user or 'clients without a name'}:\n# {rule}")


def check_limits(here: Mosquitto, heard: Talk, sizes: tuple[int, ...], snapshot_bytes: int) -> Finding:
    limits, largest = heard.limits, max(heard.echoed, default=0)
    if limits.most_qos == 0 or not limits.retain:
        what = "acknowledges nothing (QoS 0 only)" if limits.most_qos == 0 else "keeps no retained messages"
        return fail("broker-limits", f"the broker {what}", _without(here, "max_qos", "retain_available"))
    told = (
        f"says that it takes {limits.largest_bytes} bytes" if limits.largest_bytes else "does not pass on what is larger than that"
    )
    cure = _without(here, "max_packet_size", "message_size_limit")
    if largest < _LONGEST_BYTES:
        return fail("broker-limits", f"messages of {_LONGEST_BYTES} bytes do not pass: the broker {told}", cure)
    if snapshot_bytes > largest:
        return warn("broker-limits", f"snapshots of {snapshot_bytes // 1000} kB do not pass: the broker {told}", cure)
    return ok(
        "broker-limits",
        f"messages of {max(sizes) / 1000:.0f} kB pass{f', {limits.largest_bytes} bytes at most' if limits.largest_bytes else ''}",
    )


def _without(here: Mosquitto, *keys: str) -> str:
    there = [key for key in keys if here.file_of(key)]
    if not there:
        return f"# in the broker's configuration, raise or take away: {', '.join(keys)}"
    return " && ".join([*(rf"sudo sed -i '/^\s*{key}\s/d' {shlex.quote(here.file_of(key))}" for key in there), RESTART])


def check_client_id(access: Access, heard: Talk, running: RunningDaemon, set_id: str) -> Finding:
    """Asked without taking the id: a daemon notices a rival itself, and says so to who asks, and in its retained `health`."""
    online = heard.retained.get("status") == b"online"
    faults = {*running.faults, *to_fault_kinds(heard.retained.get("health", b""))}
    if "client_id_taken" in faults and (running.pid or online):
        return fail("client-id", f"two clients have the id {access.client_id} and throw each other out", set_id)
    if running.pid:
        return ok("client-id", f"{access.client_id}, used by edged here (process {running.pid})")
    if online:
        said = f"an edged that does not run here is online as {access.client_id}: the next one that starts throws it out"
        return warn("client-id", said, set_id)
    return ok("client-id", f"{access.client_id}, not in use")


def to_fault_kinds(payload: bytes) -> list[str]:
    """The kinds of the faults of a health message; [] for anything else."""
    try:
        health = json.loads(payload)
    except (ValueError, RecursionError):
        return []
    found = health.get("faults") if isinstance(health, dict) else None
    return [str(one.get("kind")) for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _is_own(access: Access) -> bool:
    """Whether the host is this machine: an address that a socket can be bound to."""
    if access.on_loopback:
        return True
    try:
        found = socket.getaddrinfo(access.host, 0, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False
    for family, kind, number, _, address in found:
        with socket.socket(family, kind, number) as one:
            try:
                one.bind(address)
            except OSError:
                continue
            return True
    return False


_ANOTHER_ID = "sudo rm /etc/machine-id && sudo systemd-machine-id-setup && sudo systemctl restart edged  # on one of the two"


def check_device_id(heard: Talk) -> Finding:
    """Whether another edged that is connected has our id, as two boards made from one image have that know no serial number."""
    ours = _device_id(heard.retained.get("info", b""))
    if not ours:
        return skipped("device-id", "edged has not yet told who it is")
    told = ((topic.removesuffix("/info"), _device_id(payload)) for topic, payload in heard.retained.items() if "/" in topic)
    same = [base for base, its in told if its == ours and heard.retained.get(f"{base}/status") == b"online"]
    if same:
        return warn("device-id", f"{printable(same[0])} has the same id: Home Assistant takes the two for one", _ANOTHER_ID)
    return ok("device-id", ours)


def _device_id(payload: bytes) -> str:
    try:
        told = json.loads(payload)
    except (ValueError, RecursionError):
        return ""
    found = told.get("device_id") if isinstance(told, dict) else None
    return printable(found) if isinstance(found, str) else ""
