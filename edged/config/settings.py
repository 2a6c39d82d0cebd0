"""The settings: every key with its type, range, default and what it is for. config/edged.toml and docs/config.md say the same.

A key that is wrong is told to the operator by config_faults.py; the sentences for what a range can't say are here.
"""

import re
import socket
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, field_validator

from edged.config.instance import STATE_FOLDER
from edged.system.shapes import WHOLE, Region
from edged.system.text import to_host

Ratio = Annotated[float, Field(ge=0, le=1)]


def _one_line(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must not hold control characters")
    return text


Text = Annotated[str, AfterValidator(_one_line)]
TopicPrefix = Annotated[str, Field(pattern=r"^[^+#/$\s\x00][^+#\s\x00]*$")]
Names = Annotated[tuple[Text, ...], Field(strict=False)]  # TOML has arrays, Python freezes tuples


class Section(BaseModel):
    """A table of the config. Frozen; unknown keys are errors; 1 is a number and "1" is not."""

    model_config = ConfigDict(
        defer_build=True, extra="forbid", frozen=True, strict=True, allow_inf_nan=False, hide_input_in_errors=True
    )


def _inside(region: Region) -> Region:
    x, y, width, height = region
    if min(x, y) < 0 or min(width, height) <= 0 or x + width > 1 + 1e-9 or y + height > 1 + 1e-9:
        raise ValueError("must be x, y, width, height inside the picture: 0..1, with x + width and y + height at most 1")
    return region


class CameraSection(Section):
    kind: Literal["picamera2", "v4l2", "stream", "pictures"] = Field("picamera2", description="which camera looks")
    source: Text = Field(
        "0", min_length=1, max_length=1024, description="camera number or id, `/dev/video0`, `rtsp://…`, a folder or file"
    )
    user: Text = Field("", max_length=256, description="for a camera with an address; its password comes from `password_file`")
    password_file: Text = Field(
        "", max_length=1024, description="the password is read from this file when the camera is opened; see `user`"
    )
    fps: float = Field(5.0, ge=0.01, le=240, description="pictures a second that are asked of the camera")
    width_px: int = Field(0, ge=0, le=8192, description="picture size that is asked of the camera; 0 = what suits the model")
    height_px: int = Field(0, ge=0, le=8192, description="see `width_px`; both or neither")
    region: Annotated[Region, Field(strict=False)] = Field(
        WHOLE, description="x, y, width, height, each 0..1: the part of the picture that matters"
    )
    crop: Literal["full", "centre", "letterbox"] = Field(
        "full", description="inside the region: all of it, the middle 87.5 %, or fitted with bars"
    )
    rotation: Literal[0, 90, 180, 270] = Field(0, description="degrees clockwise that the picture is turned")
    max_age_ms: int = Field(500, ge=1, le=60_000, description="an older picture is never classified")
    no_frame_s: float = Field(5.0, ge=0.5, le=5, description="a camera that is silent for longer is lost")
    frozen_s: float = Field(30.0, ge=0, le=3600, description="the same picture for longer: the camera is frozen; 0 = never")
    exposure_max_ms: float = Field(0.0, ge=0, le=10_000, description="longest exposure; 0 = as long as `fps` allows")
    buffers: int = Field(4, ge=2, le=16, description="picamera2 only: pictures that the camera may be working on at a time")
    loop: bool = Field(True, description="pictures only: begin again after the last")
    show_s: float | None = Field(
        None,
        ge=0,
        le=3600,
        description="pictures only: each photograph is shown so long; `0` = for one frame",
        json_schema_extra={"unset": "so long that `k` of `n` can agree"},
    )

    _region = field_validator("region")(_inside)


class ModelSection(Section):
    name: Text = Field("auto", min_length=1, description="`auto`, an installed or bundled model, or a path to a .tflite")
    labels: Text = Field("", description="labels file, one a line; needed for a bare .tflite, and wins over a card's")
    threads: int = Field(0, ge=0, le=64, description="0 = what fit measured best")
    family: Text = Field("home", min_length=1, description="what `auto` chooses among: `home` (bundled), `imagenet`, or your own")
    recast: bool = Field(True, description="run a uint8 model as int8 where that was proven to be the same, and is faster")


class BudgetSection(Section):
    latency_ms: float | None = Field(
        None,
        gt=0,
        le=60_000,
        description="warm p95, frame in memory to scores",
        json_schema_extra={"unset": "`auto`: half a frame's time"},
    )
    memory_mb: float | None = Field(
        None, gt=0, description="peak of the vision process", json_schema_extra={"unset": "`auto`: what leaves 100 MB free"}
    )
    size_mb: float | None = Field(None, gt=0, description="size of the model file")
    fps: float | None = Field(None, ge=0.01, le=240, description="results a second that must be possible")
    min_top1: Ratio | None = Field(None, description="announced accuracy below which a model is not chosen")


class DecisionSection(Section):
    enter: Ratio | None = Field(
        None,
        description="score from which a label can become current",
        json_schema_extra={"unset": "as the model's card says, else `0.6`"},
    )
    leave: Ratio | None = Field(
        None,
        description="score below which the current label is given up",
        json_schema_extra={"unset": "as the card says, else `0.4`"},
    )
    k: int = Field(2, ge=1, le=100, description="of the last `n` classifications, so many must agree")
    n: int = Field(3, ge=1, le=100, description="see `k`")
    margin: Ratio | None = Field(
        None,
        description="by so much a label must lead before the next one",
        json_schema_extra={"unset": "as the card says, else `0.1`"},
    )
    hold_s: float = Field(1.0, ge=0, le=3600, description="a label stays at least so long")
    ignore: Names = Field(("background",), description="labels that never become current; then it is `none`")
    groups: dict[str, Names] = Field(
        {"animal": ("cat", "dog", "bird"), "vehicle": ("car", "two_wheeler", "truck_bus")},
        description="labels whose scores add up to one name; the default holds where the model knows these labels",
    )

    @field_validator("groups")
    @classmethod
    def _not_empty(cls, groups: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        for name, labels in groups.items():
            if not name or not name.isprintable() or not labels:
                raise ValueError("every group needs a printable name and at least one label")
        return groups


def _to_protocol(version: Any) -> Any:
    return 4 if version == "3.1.1" else version


def _to_broker(host: str) -> str:
    return to_host(host, "mqtt.port", "the user goes into mqtt.user, the password into mqtt.password_file")


def _to_own(host: str) -> str:
    return to_host(host, "page.port")


class MqttSection(Section):
    host: Text = Field("localhost", min_length=1, max_length=255, description="name or address of the broker")
    port: int = Field(1883, ge=1, le=65535, description="1883, or 8883 for most brokers with TLS")
    version: Annotated[Literal[5, 4], BeforeValidator(_to_protocol)] = Field(5, description='5, or 4 (or "3.1.1") for MQTT 3.1.1')
    prefix: TopicPrefix = Field("edged", max_length=64, description="topics begin with `<prefix>/<device>`")
    client_id: Text = Field("", max_length=64, description="empty = `edged-<device>`; two clients with one id throw each other out")
    user: Text = Field("", description="empty = anonymous")
    password_file: Text = Field("", description="the password is read from this file when connecting, and stands nowhere else")
    allow_plain_password: bool = Field(False, description="send a password unencrypted to a broker outside your own network")
    tls: bool = Field(False, description="TLS with the system's certificates; `tls_ca` switches it on too")
    tls_ca: Text = Field("", description="file with the certificate that the broker's is signed with")
    tls_cert: Text = Field("", description="our certificate, for brokers that want one; with `tls_key`")
    tls_key: Text = Field("", description="its key")
    keepalive_s: int = Field(15, ge=5, le=600, description="a silent connection is dead after 1.5 × this")
    max_packet_bytes: int = Field(0, ge=0, le=268_435_455, description="messages above this are not sent; 0 = what the broker says")
    result_fps: float = Field(1.0, ge=0, le=240, description="live results a second at most; 0 = off")

    _host = field_validator("host")(_to_broker)


class OutboxSection(Section):
    durability: Literal["memory", "balanced", "strict"] = Field(
        "balanced",
        description="what a power cut costs: memory: all that waits; balanced: what was decided in the last 250 ms; strict: none",
    )
    ttl_s: float = Field(2_592_000.0, gt=0, le=1e10, description="events older than this are dropped; 30 days")
    max_rows: int = Field(100_000, ge=100, description="more waiting events than this: the oldest are dropped")
    max_mb: float = Field(64.0, ge=1, le=1e6, description="more waiting megabytes than this: the oldest are dropped")
    min_free_mb: float = Field(64.0, ge=0, le=1e6, description="with less free disk than this the outbox lives in memory")
    keep_rows: int = Field(10_000, ge=0, description="acknowledged events that are kept for `edged replay`")
    backlog_per_s: float = Field(50.0, gt=0, description="late events a second at most, so that live ones never wait")


class GateSection(Section):
    enabled: bool = Field(False, description="do not classify an unchanged scene again")
    threshold: Ratio = Field(0.02, description="mean difference of brightness that counts as a change")
    max_interval_s: float = Field(10.0, gt=0, le=3600, description="classify at least so often")


class SnapshotSection(Section):
    on_control: bool = Field(False, description="answer `snapshot` on the topic `control` with a JPEG")
    on_event: bool = Field(False, description="send a JPEG with each event")
    max_px: int = Field(640, ge=16, le=4096, description="longest side of the JPEG")
    quality: int = Field(80, ge=1, le=100, description="JPEG quality")
    local: bool = Field(True, description="for whoever may ask on this board: `edged teach mark`, the page on 127.0.0.1")
    max_kb: int = Field(256, ge=4, le=16_384, description="a JPEG that comes out larger is made smaller")


class HomeAssistantSection(Section):
    enabled: bool = Field(False, description="announce the entities through MQTT discovery")
    discovery_prefix: TopicPrefix = Field("homeassistant", description="where Home Assistant listens")
    name: Text = Field("", max_length=64, description="name of the device there; empty = `device`")
    labels: Names = Field((), max_length=100, description="labels that get a binary sensor of their own, as groups do")


class WebSection(Section):
    enabled: bool = Field(False, description="as `page.enabled`")
    host: Text = Field("127.0.0.1", min_length=1, max_length=255, description="as `page.host`")
    port: int = Field(8080, ge=1, le=65535, description="as `page.port`")

    _host = field_validator("host")(_to_own)


class PageSection(Section):
    enabled: bool = Field(False, description="`edged page` may show what edged sees, and the last hour is kept in memory for it")
    host: Text = Field(
        "127.0.0.1", min_length=1, max_length=255, description="address that it listens on; 0.0.0.0 = every one of this board"
    )
    port: int = Field(8080, ge=1, le=65535, description="port that it listens on")
    names: Names = Field((), max_length=20, description="names under which browsers reach it, besides the board's own")
    tls_cert: Text = Field("", description="certificate, as PEM; with `tls_key`")
    tls_key: Text = Field("", description="its key")
    token_and_picture_travel_readable: bool = Field(
        False, description="on another address than 127.0.0.1 without TLS: everybody on the way can read both"
    )
    picture: bool = Field(False, description="the picture also on another address than 127.0.0.1")

    _host = field_validator("host")(_to_own)


class ProfileCameraSection(Section):
    fps: float = Field(5.0, ge=0.01, le=240)


TimeOfDay = Annotated[str, Field(pattern=r"^(?:|[01]\d:[0-5]\d|2[0-3]:[0-5]\d)$")]


class ProfileSection(Section):
    """Whole sections: what the profile says, and for the rest what the file says outside of it."""

    model: ModelSection = ModelSection()
    decision: DecisionSection = DecisionSection()
    camera: ProfileCameraSection = ProfileCameraSection()
    from_: TimeOfDay = Field("", alias="from", description='local time, "22:00"; with `until`: active then by itself')
    until: TimeOfDay = Field("", description='local time, "06:30"')


def to_device(host_name: str) -> str:
    """`Front Door.lan` → `front-door-lan`: what may stand in a topic."""
    return re.sub(r"[^a-z0-9_-]", "-", host_name.lower())[:64] or "edged"


def _absolute(folder: Path) -> Path:
    if not str(folder).isprintable() or not folder.is_absolute():
        raise ValueError("must be a path without control characters")
    return folder


class Settings(Section):
    device: str = Field(
        default_factory=lambda: to_device(socket.gethostname()),
        pattern=r"^[a-z0-9_-]+$",
        max_length=64,
        description="name in the topics; lower-case letters, digits, - and _; the host name when not set",
    )
    state_folder: Annotated[Path, Field(strict=False), AfterValidator(_absolute)] = Field(
        Path(STATE_FOLDER), description="outbox, installed models, last good, measurements, control socket"
    )
    camera: CameraSection = CameraSection()
    model: ModelSection = ModelSection()
    budget: BudgetSection = BudgetSection()
    decision: DecisionSection = DecisionSection()
    mqtt: MqttSection = MqttSection()
    outbox: OutboxSection = OutboxSection()
    gate: GateSection = GateSection()
    snapshot: SnapshotSection = SnapshotSection()
    homeassistant: HomeAssistantSection = HomeAssistantSection()
    web: WebSection = Field(WebSection(), description="the old name of `[page]`: read as it where `[page]` is silent")
    page: PageSection = PageSection()
    profile: dict[str, ProfileSection] = Field({}, description="profiles by name")

    # a private attribute, so that `origins = …` in a file is as unknown as any other key
    _origins: dict[str, str] = PrivateAttr(default_factory=dict)

    @property
    def origins(self) -> dict[str, str]:
        """Dotted key → "FILE:LINE" where it was set, or "default"."""
        return self._origins
