"""What a sandbox says is not believed: whatever it answers, the model is refused, in one sentence and without a traceback."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from edged.errors import ModelError
from edged.models import admission
from edged.models.admission import Admission, Scene
from edged.models.store import Store
from edged.rollout.startup import begin, find_config
from edged.system.clock import Clock

TOP = Path(__file__).parents[3]
READY = '{"kind": "ready"}'
RUNTIME = {"runtime": "x", "delegate": "", "delegate_nodes": 0, "nodes": 1}
FACTS = RUNTIME | {"width": 96, "height": 96, "dtype": "uint8", "output": "logits"}
CHECKED = json.dumps({"kind": "checked", "facts": FACTS, "best": []})
LIES = {
    "a list": "[]",
    "another object": '{"x": 1}',
    "brackets": "[" * 100_000,
    "brackets within": '{"kind": "checked", "facts": ' + "[" * 100_000,
    "no text": "\udcff\udcfe",
    "a number": "1e999",
    "null": "null",
    "a kind that is none": '{"kind": ["checked"]}',
    "the courier's own": '{"kind": "measure", "seconds": 1}',
    "another answer": '{"kind": "loaded"}',
    "too little": '{"kind": "checked"}',
    "too much": json.dumps({"kind": "checked", "facts": FACTS, "best": [], "more": 1}),
    "facts of another kind": json.dumps({"kind": "checked", "facts": FACTS | {"width": "96"}, "best": []}),
    "infinite": json.dumps({"kind": "checked", "facts": FACTS, "best": [[0, float("nan")]]}),
    "a reason with a command for the terminal": json.dumps({"kind": "refused", "reason": "\x1b[2J"}),
    "a reason without end": json.dumps({"kind": "refused", "reason": "x" * 100_000}),
}

Lie = Callable[..., None]


@pytest.fixture
def lie(monkeypatch: pytest.MonkeyPatch) -> Lie:
    """The sandbox gives these answers, one after the other."""

    def tell(*answers: str) -> None:
        monkeypatch.setattr(admission, "_CHILD", "tests.contract.models.liar")
        monkeypatch.setenv("PYTHONPATH", str(TOP))
        monkeypatch.setenv("LIES", json.dumps(answers))

    return tell


@pytest.mark.parametrize("answer", LIES.values(), ids=LIES)
def test_a_lie_about_a_check_is_a_refusal(tmp_path: Path, lie: Lie, answer: str) -> None:
    lie(READY, answer)
    verdict = Admission(tmp_path).admit(Store(tmp_path).find("home_0.25_96"))
    assert not verdict.admitted and verdict.reason.isprintable() and len(verdict.reason) < 200


@pytest.mark.parametrize("answer", LIES.values(), ids=LIES)
def test_a_lie_instead_of_the_first_word_is_a_refusal(tmp_path: Path, lie: Lie, answer: str) -> None:
    lie(answer)
    assert not Admission(tmp_path).admit(Store(tmp_path).find("home_0.25_96")).admitted


@pytest.mark.parametrize(
    "answer",
    [
        *LIES.values(),
        CHECKED,
        '{"kind": "measured", "p50_ms": -1, "p95_ms": 1, "memory_mb": 1, "threads": 1, "runs": 1}',
        '{"kind": "measured", "p50_ms": 1, "p95_ms": 1, "memory_mb": 1, "threads": 0, "runs": 1}',
    ],
    ids=[*LIES, "the last answer again", "a negative time", "no thread"],
)
def test_a_lie_about_a_measurement_is_a_refusal(tmp_path: Path, lie: Lie, answer: str) -> None:
    lie(READY, CHECKED, answer)
    with pytest.raises(ModelError, match=r"^model home_0.25_96 is refused: ") as refused:
        Admission(tmp_path).measure(Store(tmp_path).find("home_0.25_96"), Scene(), (1,), 0.1)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("answer", [LIES["a list"], LIES["another object"], LIES["brackets"]], ids=["list", "object", "brackets"])
def test_a_start_with_such_a_model_is_refused_in_one_sentence(tmp_path: Path, lie: Lie, answer: str) -> None:
    config = tmp_path / "edged.toml"
    config.write_text(f'state_folder = "{tmp_path}/state"\n[camera]\nkind = "pictures"\nsource = "{tmp_path}"\n')
    lie(READY, answer)
    with pytest.raises(ModelError, match=r"^model home_0.25_96 is refused: ") as refused:
        begin(find_config(config), Clock(), 0)
    assert "\n" not in str(refused.value)
