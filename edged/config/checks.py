"""What single keys can't say: settings that contradict each other. Pure; nothing is looked up."""

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from edged.config.settings import DecisionSection, ProfileSection, Settings
from edged.config.source import Keys
from edged.system.text import is_understood, shown_address, to_host

STREAMS = ("rtsp", "rtsps", "http", "https", "rtmp")


@dataclass(frozen=True)
class Contradiction:
    """`keys` take part in it; the first one is where it is told, unless only another one stands in the file."""

    keys: tuple[Keys, ...]
    what: str


def contradictions(settings: Settings) -> Iterator[Contradiction]:
    """Everything in the settings that can't be meant together."""
    yield from _decision(settings.decision, ())
    yield from _camera(settings)
    yield from _budget(settings)
    yield from _mqtt(settings)
    yield from _page(settings)
    yield from _names(settings)
    for name, profile in settings.profile.items():
        yield from _decision(profile.decision, ("profile", name))
        yield from _times(profile, ("profile", name))


def _decision(decision: DecisionSection, above: Keys) -> Iterator[Contradiction]:
    def keys(*names: str) -> tuple[Keys, ...]:
        return tuple((*above, "decision", name) for name in names)

    if decision.leave is not None and decision.enter is not None and decision.leave > decision.enter:
        yield Contradiction(
            keys("leave", "enter"),
            f"{decision.leave:g} is above enter = {decision.enter:g}: a label would leave as soon as it entered",
        )
    if decision.k > decision.n:
        yield Contradiction(keys("k", "n"), f"{decision.k} of the last n = {decision.n} can never agree; k must be at most n")
    if decision.k <= decision.n and decision.enter == 0 and decision.margin == 0:
        yield Contradiction(keys("enter", "margin"), "0 with margin = 0 lets any label in; raise one of them")


def _times(profile: ProfileSection, above: Keys) -> Iterator[Contradiction]:
    if bool(profile.from_) != bool(profile.until):
        there, absent = ("from", "until") if profile.from_ else ("until", "from")
        yield Contradiction(((*above, there), (*above, absent)), f'needs {absent} beside it, e.g. {absent} = "06:30"')
    elif profile.from_ and profile.from_ == profile.until:
        yield Contradiction(((*above, "until"), (*above, "from")), f"is the same time as from = {profile.from_}")


def _camera(settings: Settings) -> Iterator[Contradiction]:
    camera = settings.camera
    kind, source = ("camera", "kind"), ("camera", "source")
    shown = shown_address(camera.source)
    scheme = camera.source.split("://")[0].lower() if "://" in camera.source else ""
    if camera.kind == "stream" and scheme not in STREAMS:
        yield Contradiction((source, kind), f'kind = "stream" needs an address like rtsp://camera/1, not "{shown}"')
    if camera.kind == "stream" and any(c.isspace() for c in camera.source):
        yield Contradiction((source, kind), "an address has no spaces")
    elif camera.kind == "stream" and scheme and (why := _why_no_host(camera.source)):
        yield Contradiction((source, kind), f"{shown}: its host {why}")
    for name in ("user", "password_file"):
        if getattr(camera, name) and camera.kind != "stream":
            yield Contradiction((("camera", name), kind), 'is for kind = "stream" only')
    if camera.password_file and not camera.user:
        yield Contradiction((("camera", "password_file"), ("camera", "user")), "a password needs camera.user beside it")
    if camera.user and "@" in camera.source:
        yield Contradiction((source, ("camera", "user")), "has a user in the address, and camera.user says one too: take one away")
    if camera.kind != "stream" and scheme:
        yield Contradiction((kind, source), f'must be "stream" for the source {shown}')
    if camera.kind == "pictures" and source not in _set(settings):
        yield Contradiction((kind, source), "pictures need camera.source = a folder or a file")
    if camera.kind == "v4l2" and not scheme and not (camera.source.isdecimal() or camera.source.startswith("/dev/")):
        yield Contradiction((source, kind), f'kind = "v4l2" needs a device like /dev/video0, not "{shown}"')
    if (camera.width_px == 0) != (camera.height_px == 0):
        yield Contradiction((("camera", "width_px"), ("camera", "height_px")), "width_px and height_px must be set both or neither")
    if camera.kind == "picamera2" and camera.rotation in (90, 270):
        yield Contradiction((("camera", "rotation"), kind), f"{camera.rotation} cannot be done by the Pi camera, only 0 and 180")


def _why_no_host(address: str) -> str:
    """Of an address that can be taken apart; what else is wrong with one, the camera says."""
    try:
        host = urlsplit(address).hostname if is_understood(address) else None
        to_host(host or "localhost", "the address, behind its host")
    except ValueError as error:
        return str(error)
    return ""


def _budget(settings: Settings) -> Iterator[Contradiction]:
    budget, fps = settings.budget, settings.camera.fps
    latency = ("budget", "latency_ms")
    if budget.fps is not None and budget.fps > fps:
        yield Contradiction(
            (("budget", "fps"), ("camera", "fps")), f"{budget.fps:g} is more than the camera gives: camera.fps = {fps:g}"
        )
    if budget.latency_ms is None:
        return
    for rate, key in ((budget.fps, ("budget", "fps")), (fps, ("camera", "fps"))):
        if rate is not None and budget.latency_ms * rate > 1000:
            yield Contradiction(
                (latency, key),
                f"{budget.latency_ms:g} ms for a picture cannot keep up with {'.'.join(key)} = {rate:g}, a picture each "
                f"{1000 / rate:.3g} ms; lower one of them",
            )
            return


def _mqtt(settings: Settings) -> Iterator[Contradiction]:
    mqtt = settings.mqtt
    if mqtt.password_file and not mqtt.user:
        yield Contradiction((("mqtt", "password_file"), ("mqtt", "user")), "a password needs mqtt.user beside it")
    for there, absent in (("tls_cert", "tls_key"), ("tls_key", "tls_cert")):
        if getattr(mqtt, there) and not getattr(mqtt, absent):
            yield Contradiction((("mqtt", there), ("mqtt", absent)), f"needs mqtt.{absent} beside it")
    if mqtt.tls_cert and not (mqtt.tls or mqtt.tls_ca):
        yield Contradiction((("mqtt", "tls_cert"), ("mqtt", "tls")), "does nothing without mqtt.tls or mqtt.tls_ca")


def _page(settings: Settings) -> Iterator[Contradiction]:
    page = settings.page
    for there, absent in (("tls_cert", "tls_key"), ("tls_key", "tls_cert")):
        if getattr(page, there) and not getattr(page, absent):
            yield Contradiction((("page", there), ("page", absent)), f"needs page.{absent} beside it")
    if page.enabled and not (is_loopback(page.host) or page.tls_cert or page.token_and_picture_travel_readable):
        yield Contradiction(
            (("page", "host"), ("web", "host"), ("page", "enabled")),
            f"{page.host} is not this board alone: set page.tls_cert and page.tls_key, or "
            "page.token_and_picture_travel_readable = true",
        )


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _names(settings: Settings) -> Iterator[Contradiction]:
    if "file" in settings.profile:
        yield Contradiction((("profile", "file"),), "is no name for a profile: @file means what the file says outside of them")
    if "" in settings.profile:
        yield Contradiction((("profile", ""),), "is no name for a profile: give it one, as in [profile.night]")


def _set(settings: Settings) -> set[Keys]:
    return {tuple(key.split(".")) for key, origin in settings.origins.items() if origin != "default"}
