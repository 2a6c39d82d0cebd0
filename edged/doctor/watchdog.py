"""The hardware watchdog, which starts a board again that hangs altogether."""

import re

from edged.doctor.finding import Finding, fail, ok, skipped
from edged.doctor.site import Site

LIMIT_S = 15  # 2**20 ticks of 1/65536 s in the Pi's chip: 16 s, and systemd wants whole ones below
_CURE_FILE = "/etc/systemd/system.conf.d/99-watchdog.conf"
_UNITS_S = {"": 1.0, "s": 1, "sec": 1, "second": 1, "seconds": 1, "ms": 1e-3, "msec": 1e-3, "us": 1e-6, "usec": 1e-6}
_UNITS_S |= {
    "m": 60,
    "min": 60,
    "minute": 60,
    "minutes": 60,
    "h": 3600,
    "hr": 3600,
    "hour": 3600,
    "hours": 3600,
    "d": 86400,
    "day": 86400,
}


def check_watchdog(site: Site) -> Finding:
    """A timeout above the chip's is refused (kernels before 6.8: no watchdog at all) or taken modulo 16 s (60 s become 12)."""
    value, where = site.setting(site.drop_ins("system.conf"), "RuntimeWatchdogSec")
    seconds = to_seconds(value)
    if not site.is_pi:
        return skipped("watchdog", f"no Raspberry Pi; RuntimeWatchdogSec={value or 'off'}")
    if seconds is None:
        return ok("watchdog", "systemd's own setting" if value in ("", "default") else f"RuntimeWatchdogSec={value[:40]}")
    if seconds > LIMIT_S:
        set_it = rf"printf '[Manager]\nRuntimeWatchdogSec={LIMIT_S}\n' | sudo tee {_CURE_FILE}"
        cure = f"sudo mkdir -p {_CURE_FILE.rsplit('/', 1)[0]} && {set_it} && sudo systemctl daemon-reexec"
        return fail("watchdog", f"RuntimeWatchdogSec={value[:40]} in {where}: the Pi's chip takes at most {LIMIT_S} s", cure)
    return ok("watchdog", f"{seconds:g} s" if seconds else "off")


def to_seconds(value: str) -> float | None:
    """systemd's time spans (systemd.time(7)), "off" is 0; None for what is none, and for "default"."""
    if value.lower() in ("off", "0", "no", "infinity"):
        return 0.0
    parts = re.findall(r"(\d{1,9}(?:\.\d{1,6})?)\s*([a-z]*)", value.lower())
    if not parts or re.sub(r"[\d.\sa-z]", "", value.lower()) or any(unit not in _UNITS_S for _, unit in parts):
        return None
    return sum(float(number) * _UNITS_S[unit] for number, unit in parts)
