"""5,000 damaged configs: each is valid or refused with file and line, in our words, soon."""

import random
import re
import time
from pathlib import Path

from edged.config.reading import Settings, load_settings
from edged.errors import ConfigError
from edged.system.files import shipped
from tests.campaigns.mutations import mutated
from tests.campaigns.size import SEED, count, report

SHORT, FULL = 1000, 5000
_JARGON = re.compile(r"pydantic|Input should|NoneType|Traceback|ValueError", re.IGNORECASE)
_VALUES = ('"x"', "-1", "0", "1e400", "[]", "[[1]]", "{}", "true", "nan", "1979-05-27", '""', '"\\u0000"', "9" * 20, "'''\n'''")


def test_no_config_hurts(tmp_path: Path) -> None:
    wanted = count(SHORT, FULL)
    rng = random.Random(SEED)
    whole = re.sub(r"^#(?=[\w\[])", "", shipped("config", "edged.toml").read_text(), flags=re.MULTILINE)
    bytewise = mutated(whole.encode(), seed=SEED, count=wanted)
    path = tmp_path / "edged.toml"
    valid, faults, slowest_s = 0, 0, 0.0
    for n in range(wanted):
        data = next(bytewise)[1] if n % 2 else rewritten(rng, whole).encode()
        path.write_bytes(data)
        began = time.monotonic()
        try:
            assert isinstance(load_settings(path), Settings)
            valid += 1
        except ConfigError as error:
            assert error.faults
            faults += len(error.faults)
            for fault in error.faults:
                place = re.match(rf"{re.escape(str(path))}:(\d+): ", fault)
                assert place and 1 <= int(place[1]) <= data.count(b"\n") + 1, (fault, data)
                assert fault.isprintable() and not _JARGON.search(fault), fault
        slowest_s = max(slowest_s, time.monotonic() - began)
    report(
        "mutated_configs",
        {
            "configs": wanted,
            "seed": SEED,
            "valid": valid,
            "refused": wanted - valid,
            "faults": faults,
            "slowest_s": round(slowest_s, 3),
        },
    )


def rewritten(rng: random.Random, text: str) -> str:
    """Still TOML for the most part: other values, lost lines, keys twice or misspelt."""
    lines = text.splitlines()
    for _ in range(rng.randrange(1, 6)):
        n = rng.randrange(len(lines))
        key, equals, value = lines[n].partition(" = ")
        kind = rng.randrange(5)
        if kind == 0 and equals:
            lines[n] = f"{key} = {rng.choice(_VALUES)}"
        elif kind == 1 and equals:
            lines[n] = f"{key[: rng.randrange(1, len(key) + 1)]}{rng.choice('xy_')} = {value}"
        elif kind == 2:
            lines[n] = ""
        elif kind == 3:
            lines.insert(rng.randrange(len(lines)), lines[n])
        else:
            m = rng.randrange(len(lines))
            lines[n], lines[m] = lines[m], lines[n]
    return "\n".join(lines)
