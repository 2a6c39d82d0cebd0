"""Heat and power of the board, from sysfs. The root is a parameter, so that a test can hand it a folder."""

from dataclasses import dataclass
from pathlib import Path

HOT_C = 80.0  # where a Pi's firmware begins to slow the processor down
COOL_C = 72.0
# get_throttled's bits of this moment; since the board's start: the same, so many bits higher
UNDER_VOLTAGE, SLOWED = 0x1, 0x2 | 0x4 | 0x8  # the latter: capped, throttled, soft temperature limit
SINCE_START = 16
_LONGEST_BYTES = 40  # of a number in sysfs


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
    flags = throttled_flags(sys) or 0
    return Heat(
        temperature_c=temperature_c(sys),
        throttled=bool(flags & SLOWED),
        under_voltage=bool(flags & UNDER_VOLTAGE) or any(voltage_alarms(sys)),
    )


def temperature_c(sys: Path = Path("/sys")) -> float | None:
    """The hottest thermal zone; None where the board has none."""
    zones = [_number(zone) for zone in sys.glob("class/thermal/thermal_zone*/temp")]
    return max((milli / 1000 for milli in zones if milli is not None and abs(milli) < 1_000_000), default=None)


def throttled_flags(sys: Path = Path("/sys")) -> int | None:
    """The firmware's get_throttled, where sysfs has it: hexadecimal, with or without 0x."""
    found = (_number(file, 16) for file in sorted(sys.glob("devices/platform/soc*/*firmware/get_throttled")))
    return next((flags for flags in found if flags is not None), None)


def voltage_alarms(sys: Path = Path("/sys")) -> list[int | None]:
    """The alarms for a supply voltage that is too low: 1 = now. Empty where the board has no such sensor."""
    return [_number(alarm) for alarm in sys.glob("class/hwmon/hwmon*/in0_lcrit_alarm")]


def _number(path: Path, base: int = 10) -> int | None:
    try:
        if not path.is_file():  # a pipe would be waited for
            return None
        with path.open("rb") as file:
            return int(file.read(_LONGEST_BYTES), base)
    except (OSError, ValueError):
        return None
