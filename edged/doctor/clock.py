"""The wall clock. A Pi has no battery: it starts where it was switched off, or in 1970."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

from edged.doctor.finding import Finding, fail, ok, warn
from edged.doctor.site import Site
from edged.system.clock import kernel_synced

_RELEASED_S = 1_767_225_600  # 2026-01-01: edged is not older
_FAR_S = 40 * 366 * 86400.0
_KEPT = ("/var/lib/systemd/timesync/clock", "/var/lib/private/systemd/timesync/clock", "/etc/fake-hwclock.data")


def check_clock(site: Site, wall_s: Callable[[], float] = time.time, synced: Callable[[], bool] = kernel_synced) -> Finding:
    """`synced`: what the running kernel says; timesyncd's own mark is looked for below the site's root."""
    now_s = wall_s()
    said = _date(now_s)
    sync = "sudo timedatectl set-ntp true"
    set_it = f"{sync}\n# without a network: sudo date -s '2026-07-01 12:00'"
    last_s = max((found.st_mtime for name in _KEPT if (found := site.stat(name))), default=0.0)
    if now_s < _RELEASED_S:
        return fail("clock", f"{said}: it was never set, and events carry this date", set_it)
    if last_s > now_s + 86400 and last_s < now_s + _FAR_S:
        return fail("clock", f"{said}: it goes back; it was {_date(last_s)} before", set_it)
    if now_s > _RELEASED_S + _FAR_S:
        return fail("clock", f"{said}: that is far in the future", set_it)
    if not site.has("/run/systemd/timesync/synchronized") and not synced():
        return warn("clock", f"{said}, but nobody has set it since the start: events say clock_synced = false", sync)
    if not site.glob("/sys/class/rtc/rtc*") and not last_s:
        cure = "sudo apt install systemd-timesyncd && sudo systemctl enable --now systemd-timesyncd"
        return warn("clock", f"{said}; no battery and nothing that keeps the time over a restart", cure)
    return ok("clock", f"{said}, synchronised{'' if site.glob('/sys/class/rtc/rtc*') else '; no battery, the last time is kept'}")


def _date(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (OverflowError, ValueError, OSError):
        return f"{seconds:g} s since 1970"
