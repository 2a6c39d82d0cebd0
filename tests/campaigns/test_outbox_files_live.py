"""The outbox's files are removed, replaced and cut while a courier works and its broker is away; some are killed then."""

import random
import signal
from pathlib import Path

from tests.campaigns.size import SEED, count, report
from tests.campaigns.test_chaos import _LOSSLESS
from tests.e2e.fault_proxy import FaultProxy
from tests.e2e.running import Broker, wait_for, works_on
from tests.e2e.source import Arrivals, Source
from tests.unit.delivery.test_outbox_files import DAMAGES


def test_what_happens_to_the_files_loses_nothing_without_a_word(tmp_path: Path) -> None:
    wanted = count(2, 44)
    rng = random.Random(SEED)
    names = [sorted(DAMAGES)[number % len(DAMAGES)] for number in range(wanted)]
    if wanted < len(DAMAGES):
        names = ["both removed", "log emptied", "folder removed", "file replaced"][:wanted]
    (tmp_path / "broker").mkdir()
    broker = Broker(tmp_path, *_LOSSLESS, f"persistence_location {tmp_path}/broker/")
    proxy = FaultProxy(broker.port, SEED).start()
    arrivals = Arrivals(broker.port)
    wrong: list[str] = []
    announced_before = made = 0
    for number, name in enumerate(names):
        proxy.become("refuse")
        state = tmp_path / f"state{number}"
        first = 1 + number * 1000
        source = Source(port=proxy.port, state_folder=str(state), events=200, per_s=200.0, first=first, outbox={"min_free_mb": 0.0})
        wait_for(lambda source=source: source.said.get("counters", {}).get("queued", 0) >= 150, 60, "events wait")
        DAMAGES[name](state / "outbox.db")
        before = len(source.degraded)

        def told(source: Source = source, before: int = before) -> bool:
            return any("while edged used it" in sentence for said in list(source.degraded)[before:] for sentence in said)

        wait_for(told, 8, f"{name} is told")
        wait_for(lambda source=source: source.said["counters"]["events"] == 200, 30, "all were made")
        if rng.random() < 0.5:
            works_on(source.process.pid, 10)
            source.kill()
            source = Source(port=proxy.port, state_folder=str(state), events=1, per_s=1.0, first=first + 999)
            wait_for(lambda source=source: source.said.get("counters"), 60, "started again")
        proxy.become("")
        source.wait_done(120)
        made += 200

        def arrived(first: int = first) -> int:
            return len(arrivals.labels() & set(range(first, first + 200)))

        def announced() -> int:
            return sum(gap["dropped"] or 0 for gap in arrivals.gaps())

        try:
            wait_for(lambda before=announced_before: arrived() + announced() - before >= 200, 20, name)
        except AssertionError:
            wrong.append(f"{name}: {arrived()} arrived, {announced() - announced_before} announced")
        announced_before = announced()
        assert source.end() == 0
    report(
        "outbox_files_live",
        {"cases": wanted, "seed": SEED, "events": made, "announced": announced_before, "wrong": wrong},
    )
    assert not wrong, wrong
    arrivals.close()
    proxy.close()
    broker.end(signal.SIGKILL)
