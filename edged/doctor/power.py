"""Power and heat, as the firmware counts them since the board was started."""

import fcntl
import os
import stat
import struct

from edged.doctor.finding import Finding, fail, ok, skipped, warn
from edged.doctor.site import Site
from edged.system.heat import HOT_C

# bits of get_throttled: this moment, and 16 higher what has happened since the start
_UNDER_VOLTAGE, _CAPPED, _THROTTLED, _SOFT_LIMIT, _BEFORE = 0x1, 0x2, 0x4, 0x8, 16
_MAILBOX = 0xC0086400  # _IOWR(100, 0, char *), https://github.com/raspberrypi/firmware/wiki/Mailbox-property-interface
_GET_THROTTLED = 0x00030046
_SUPPLY = """# use the official power supply (Pi 5: 5 V 5 A, Pi 3 and 4: 5.1 V 3 A) and a short cable; unplug what USB feeds
vcgencmd get_throttled"""
_COOL = """# a heat sink or a fan, and air around the board; or less work: camera.fps, [gate] enabled = true
vcgencmd measure_temp"""


def check_power(site: Site) -> Finding:
    flags = read_throttled(site)
    alarms = [name for name in site.glob("/sys/class/hwmon/hwmon*/in0_lcrit_alarm") if site.number(name)]
    if flags is None and not site.glob("/sys/class/hwmon/hwmon*/in0_lcrit_alarm"):
        return skipped("power", "this machine does not tell")
    flags = flags or 0
    if flags & _UNDER_VOLTAGE or alarms:
        return fail("power", "under-voltage now: the SD card may be damaged by it", _SUPPLY)
    if flags >> _BEFORE & _UNDER_VOLTAGE:
        return warn("power", "under-voltage since the last start", _SUPPLY)
    return ok("power", "no under-voltage since the last start")


def check_heat(site: Site) -> Finding:
    zones = [site.number(zone) for zone in site.glob("/sys/class/thermal/thermal_zone*/temp")]
    hottest_c = max((milli / 1000 for milli in zones if milli is not None and abs(milli) < 1_000_000), default=None)
    flags = read_throttled(site)
    if flags is None and hottest_c is None:
        return skipped("heat", "this machine does not tell")
    now = "" if hottest_c is None else f"{hottest_c:.0f} °C"
    flags = flags or 0
    slowed = _CAPPED | _THROTTLED | _SOFT_LIMIT
    if flags & slowed or (hottest_c is not None and hottest_c >= HOT_C):
        return fail("heat", f"the processor is slowed down now{now and f', at {now}'}", _COOL)
    if flags >> _BEFORE & slowed:
        return warn("heat", f"the processor was slowed down since the last start{now and f'; now {now}'}", _COOL)
    return ok("heat", f"{now or 'not told'}, never slowed down since the last start" if site.is_pi else now)


def read_throttled(site: Site) -> int | None:
    """get_throttled from sysfs or from the firmware's mailbox; None where there is neither."""
    for name in site.glob("/sys/devices/platform/soc*/*firmware/get_throttled"):
        if (flags := site.number(name, 16)) is not None:
            return flags
    return _ask_mailbox(site)


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
