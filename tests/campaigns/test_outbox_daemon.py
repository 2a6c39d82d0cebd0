"""Damaged outbox files through the whole daemon: it starts, says so where it had to mend, and delivers what was whole."""

import json
import shutil
from pathlib import Path
from typing import Any

from edged.delivery.outbox.repair import FILE
from tests.campaigns.mutations import mutated
from tests.campaigns.size import SEED, count, report
from tests.campaigns.test_outbox_mutations import fill
from tests.e2e.conftest import album, broker, config, heard  # noqa: F401
from tests.e2e.running import edged_with, wait_for


def test_the_daemon_starts_on_every_damaged_outbox(tmp_path: Path, config: Any, heard: Any) -> None:  # noqa: F811
    wanted = count(3, 20)
    fill(tmp_path / "whole", rows=120)
    original, log = (tmp_path / "whole" / FILE).read_bytes(), (tmp_path / "whole" / f"{FILE}-wal").read_bytes()
    state = Path(config["state_folder"])
    started = told = late = 0
    for number, (what, damaged) in enumerate(mutated(original, seed=SEED + 7, count=wanted)):
        shutil.rmtree(state, ignore_errors=True)
        state.mkdir()
        (state / FILE).write_bytes(damaged)
        (state / f"{FILE}-wal").write_bytes(log)
        folder = tmp_path / f"run{number}"
        folder.mkdir()
        before = len(heard.of("health"))
        with edged_with(folder, config) as edged:
            wait_for(
                lambda before=before: len(heard.of("health")) > before or edged.process.poll() is not None, 40, f"health ({what})"
            )
            assert edged.process.poll() is None, edged.said.read_text()[-2000:]
            backlog = len(heard.of("backlog"))
            assert edged.end() == 0
        started += 1
        health = [json.loads(p) for topic, p, _ in heard.messages if topic.endswith("/health")][-1]
        told += any("outbox" in sentence for sentence in health["degraded"])
        late = max(late, backlog)
        events = health["events"]
        assert events["events"] == events["delivered"] + events["queued"] + sum(events["dropped"].values())
    report("outbox_mutations_daemon", {"files": wanted, "seed": SEED, "started": started, "told_degraded": told})
