"""Heat and power of the board, from sysfs. The root is a parameter, so that a test can hand it a folder."""

from dataclasses import dataclass
from pathlib import Path

HOT_C = 80.0  # where a Pi's firmware begins to slow the processor down
COOL_C = 72.0
_UNDER_VOLTAGE, _CAPPED, _THROTTLED, _SOFT_LIMIT = 0x1, 0x2, 0x4, 0x8  # get_throttled's bits of this moment


@dataclass(frozen=True, slots=True)
class Heat:
    """What the board suffers from now. temperature_c is None where nothing tells it."""

    temperature_c: float | None = None
    throttled: bool = False
    under_voltage: bool = False

    @property
    def trouble(self) -> str:
        """A sentence part, or nothing."""
        if self.under_voltage:
            return "under-voltage: the power supply or its cable is too weak"
        if self.throttled:
            return f"the board throttles itself{self._at()}"
        if self.temperature_c is not None and self.temperature_c >= HOT_C:
            return f"the board is hot{self._at()}"
        return ""

    @property
    def is_well(self) -> bool:
        """Further from trouble than "no trouble": what a step back up asks for."""
        return not self.trouble and (self.temperature_c is None or self.temperature_c <= COOL_C)

    def _at(self) -> str:
        return "" if self.temperature_c is None else f": {self.temperature_c:.0f} °C"


def read_heat(sys: Path = Path("/sys")) -> Heat:
    """Microseconds. What is absent or unreadable is no trouble."""
    zones = [_number(zone) for zone in sys.glob("class/thermal/thermal_zone*/temp")]
    degrees = [milli / 1000 for milli in zones if milli is not None]
    # the firmware's word; hexadecimal, with or without 0x
    flags = _number(sys / "devices/platform/soc/soc:firmware/get_throttled", 16) or 0
    alarms = [_number(alarm) for alarm in sys.glob("class/hwmon/hwmon*/in0_lcrit_alarm")]
    return Heat(
        temperature_c=max(degrees, default=None),
        throttled=bool(flags & (_CAPPED | _THROTTLED | _SOFT_LIMIT)),
        under_voltage=bool(flags & _UNDER_VOLTAGE) or any(alarms),
    )


def _number(path: Path, base: int = 10) -> int | None:
    try:
        return int(path.read_text().strip(), base)
    except (OSError, ValueError):
        return None
