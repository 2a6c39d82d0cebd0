"""Power and heat, as the firmware counts them since the board was started."""

import fcntl
import os
import stat
import struct

from edged.doctor.finding import Finding, fail, ok, skipped, warn
from edged.doctor.site import Site
from edged.system.heat import HOT_C, SINCE_START, SLOWED, UNDER_VOLTAGE, temperature_c, throttled_flags, voltage_alarms

_MAILBOX = 0xC0086400  # _IOWR(100, 0, char *), https://github.com/raspberrypi/firmware/wiki/Mailbox-property-interface
_GET_THROTTLED = 0x00030046
_SUPPLY = """# use the official power supply (Pi 5: 5 V 5 A, Pi 3 and 4: 5.1 V 3 A) and a short cable; unplug what USB feeds
vcgencmd get_throttled"""
_COOL = """# a heat sink or a fan, and air around the board; or less work: camera.fps, [gate] enabled = true
vcgencmd measure_temp"""


def check_power(site: Site) -> Finding:
    flags = read_throttled(site)
    alarms = voltage_alarms(site.path("/sys"))
    if flags is None and not alarms:
        return skipped("power", "this machine does not tell")
    flags = flags or 0
    if flags & UNDER_VOLTAGE or any(alarms):
        return fail("power", "under-voltage now: the SD card may be damaged by it", _SUPPLY)
    if flags >> SINCE_START & UNDER_VOLTAGE:
        return warn("power", "under-voltage since the last start", _SUPPLY)
    return ok("power", "no under-voltage since the last start")


def check_heat(site: Site) -> Finding:
    hottest_c = temperature_c(site.path("/sys"))
    flags = read_throttled(site)
    if flags is None and hottest_c is None:
        return skipped("heat", "this machine does not tell")
    now = "" if hottest_c is None else f"{hottest_c:.0f} °C"
    flags = flags or 0
    if flags & SLOWED or (hottest_c is not None and hottest_c >= HOT_C):
        return fail("heat", f"the processor is slowed down now{now and f', at {now}'}", _COOL)
    if flags >> SINCE_START & SLOWED:
        return warn("heat", f"the processor was slowed down since the last start{now and f'; now {now}'}", _COOL)
    return ok("heat", f"{now or 'not told'}, never slowed down since the last start" if site.is_pi else now)


def read_throttled(site: Site) -> int | None:
    """get_throttled from sysfs or from the firmware's mailbox; None where there is neither."""
    flags = throttled_flags(site.path("/sys"))
    return _ask_mailbox(site) if flags is None else flags


def _ask_mailbox(site: Site) -> int | None:
    try:
        handle = os.open(site.path("/dev/vcio"), os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        if not stat.S_ISCHR(os.fstat(handle).st_mode):
            return None
        message = bytearray(struct.pack("=7I", 28, 0, _GET_THROTTLED, 4, 4, 0, 0))
        fcntl.ioctl(handle, _MAILBOX, message, True)
    except OSError:
        return None
    finally:
        os.close(handle)
    _, answered, *_, flags, _ = struct.unpack("=7I", message)
    return int(flags) if answered == 0x80000000 else None
