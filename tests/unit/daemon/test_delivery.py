"""Whatever the config takes for the outbox, the outbox can work with."""

import time
from pathlib import Path

import pytest
from pydantic import ValidationError

from edged.config.settings import MqttSection, OutboxSection
from edged.daemon.delivery import open_dispatch
from edged.system.clock import Clock

NUMBERS = [name for name, field in OutboxSection.model_fields.items() if field.annotation in (int, float)]
ODD = [1e-300, 1e-3, 1, 100, 1e6, 1e10, 2**63, 1e300, 1.7e308]


@pytest.mark.parametrize("value", ODD)
@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_that_the_config_takes_stops_nothing(tmp_path: Path, name: str, value: float) -> None:
    """Before: an age of 1e300 s ended the daemon after two seconds, and so many megabytes ended it at the start."""
    try:
        section = OutboxSection.model_validate({name: value})
    except ValidationError:
        return
    dispatch = open_dispatch(device="door", state_folder=tmp_path, mqtt=MqttSection(), outbox=section, clock=Clock())
    outbox = dispatch._outbox
    outbox._ledger.put("{}", time.monotonic_ns())
    outbox._ledger.keep_up()
    assert outbox._ledger.hand_out(16, dispatch._pace.allows())
    assert outbox._ledger.counters().events == 1
    outbox.close_unstarted()
