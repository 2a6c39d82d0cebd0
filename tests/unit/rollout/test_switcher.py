"""The switcher against a vision process that loads, fails, dies and answers late: walked by hypothesis over a simulated clock."""

from dataclasses import replace

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from edged.rollout.active import Active
from edged.rollout.switcher import (
    BAD,
    GOOD,
    LOAD_LIMIT_S,
    PROOF_LIMIT_S,
    Kill,
    Load,
    Lose,
    Prove,
    Refuse,
    Settle,
    SwitchAction,
    Switcher,
    Use,
    Wait,
)
from tests.campaigns.size import count
from tests.unit.rollout.actives import TOLD, active

MODELS = [active(name) for name in ("small", "middle", "large")]
names = st.sampled_from(MODELS)


class Walk(RuleBasedStateMachine):
    """The model of the other end: what the vision process has in use, what it keeps to go back to, what it was told to load."""

    @initialize(first=names)
    def start(self, first: Active) -> None:
        self.now_s = 0.0
        self.switcher = Switcher(first)
        self.used: tuple[int, str] | None = None
        self.before: tuple[int, str] | None = None
        self.words: list[Load | Settle] = []  # on their way to the other end, which takes them in this order
        self.trials = 0  # that began and did not end
        self.told: Active | None = None
        self.alive = False
        self.begin()

    def do(self, actions: object) -> None:
        for action in list(actions):  # type: ignore[call-overload]
            self.carry_out(action)

    def carry_out(self, action: SwitchAction) -> None:
        if isinstance(action, Load | Settle):
            if self.alive:
                self.words.append(action)
        elif isinstance(action, Use):
            assert action.active.facts
            self.told = action.active
        elif isinstance(action, Prove):
            assert action.active.name == self.switcher.active.name and action.active.facts
            if action.was_on_trial:
                self.trials -= 1
        elif isinstance(action, Refuse):
            assert action.active.name != "" and not self.switcher.on_trial
            self.trials -= 1
        elif isinstance(action, Kill):
            self.die("hung")
        elif isinstance(action, Wait):
            assert self.switcher.on_trial
        else:
            assert isinstance(action, Lose)
            self.trials = 0  # whoever waits is told the true reason
            self.do(self.switcher.replace(active("rescue")))

    def say_loaded(self, number: int) -> None:
        self.do(self.switcher.on_loaded(number, TOLD, self.now_s))

    def die(self, why: str) -> None:
        self.alive, self.used, self.before, self.words, self.told = False, None, None, [], None
        self.do(self.switcher.on_crash(why))

    @precondition(lambda self: not self.alive)
    @rule()
    def begin(self) -> None:
        self.alive = True
        self.do(self.switcher.begin(self.now_s))

    @rule(to=names, limit_ms=st.sampled_from([10.0, float("inf")]))
    def switch(self, to: Active, limit_ms: float) -> None:
        if self.switcher.on_trial:
            self.trials -= 1  # it gives way
        self.trials += 1
        self.do(self.switcher.switch(to, limit_ms, self.now_s))

    @rule()
    def withdraw(self) -> None:
        self.trials = 0
        self.do(self.switcher.withdraw())

    @rule(to=names)
    def replace(self, to: Active) -> None:
        self.trials = 0
        self.do(self.switcher.replace(to))

    @precondition(lambda self: self.alive and self.words)
    @rule(works=st.booleans())
    def take_a_word(self, works: bool) -> None:
        one = self.words.pop(0)
        if isinstance(one, Settle):
            before, self.before = self.before, None
            if not one.keep and before is not None:
                self.used = before
                self.say_loaded(before[0])
        elif not works:
            self.do(self.switcher.on_load_failed(one.number, "damaged"))
        else:
            self.before = (self.before or self.used) if one.trial else None
            self.used = one.number, one.active.name
            self.say_loaded(one.number)

    @precondition(lambda self: self.alive and self.used)
    @rule(latency_ms=st.sampled_from([5.0, 50.0]), times=st.integers(1, 6))
    def results(self, latency_ms: float, times: int) -> None:
        for _ in range(times):
            self.do(self.switcher.on_result(latency_ms))

    @precondition(lambda self: self.alive and self.used)
    @rule()
    def fail(self) -> None:
        """The process says so and ends by itself."""
        self.do(self.switcher.on_failed("it does not run"))
        self.alive, self.used, self.before, self.words, self.told = False, None, None, [], None

    @precondition(lambda self: self.alive)
    @rule()
    def crash(self) -> None:
        self.die("SIGSEGV")

    @rule(seconds=st.sampled_from([1.0, PROOF_LIMIT_S, LOAD_LIMIT_S]))
    def time(self, seconds: float) -> None:
        self.now_s += seconds
        self.do(self.switcher.tick(self.now_s))
        self.do(self.switcher.tick(self.now_s))  # said once

    @invariant()
    def both_ends_agree(self) -> None:
        if not hasattr(self, "switcher"):
            return
        assert self.trials == int(self.switcher.on_trial)
        if self.alive and self.used is not None:
            assert self.told is not None
            assert self.told.name == self.used[1], "results come under another model's name"
            if not self.switcher.on_trial and not self.words:
                assert self.told.name == self.switcher.active.name == self.switcher.used.name


TestWalk = Walk.TestCase
TestWalk.settings = settings(max_examples=count(40, 3000), stateful_step_count=50, deadline=None, print_blob=True)


def begun(first: Active = MODELS[0]) -> Switcher:
    switcher = Switcher(first)
    (load,) = switcher.begin(0.0)
    assert isinstance(load, Load) and not load.trial
    use, prove = switcher.on_loaded(load.number, TOLD, 0.0)
    assert isinstance(use, Use) and isinstance(prove, Prove) and not prove.was_on_trial
    return switcher


def on_trial(limit_ms: float = 10.0) -> Switcher:
    switcher = begun()
    (load,) = switcher.switch(MODELS[2], limit_ms, 0.0)
    assert isinstance(load, Load) and load.trial
    (use,) = switcher.on_loaded(load.number, TOLD, 0.0)
    assert isinstance(use, Use) and switcher.used.name == "large" and switcher.active.name == "small"
    return switcher


def test_a_model_proves_itself() -> None:
    switcher = on_trial()
    for _ in range(GOOD - 1):
        assert switcher.on_result(9.0) == []
    settle, prove = switcher.on_result(9.0)
    assert settle == Settle(keep=True) and isinstance(prove, Prove) and prove.was_on_trial
    assert switcher.active.name == "large" and switcher.active.facts["width"] == 96 and not switcher.on_trial


def test_a_model_that_is_too_slow_is_refused() -> None:
    switcher = on_trial()
    for _ in range(BAD - 1):
        assert switcher.on_result(20.0) == []
    settle, refuse = switcher.on_result(20.0)
    assert settle == Settle(keep=False) and isinstance(refuse, Refuse) and not refuse.is_late
    assert refuse.reason == "latency 20 ms of 10 ms" and switcher.used.name == "small"


def test_one_that_waits_for_frames_is_refused_late() -> None:
    switcher = on_trial()
    assert switcher.tick(PROOF_LIMIT_S - 1) == []
    assert switcher.tick(PROOF_LIMIT_S) == [Wait()]
    assert switcher.tick(PROOF_LIMIT_S + 1) == []
    _, refuse = switcher.on_crash("SIGSEGV")
    assert isinstance(refuse, Refuse) and refuse.is_late


def test_one_whose_load_hangs_takes_the_process_with_it() -> None:
    switcher = begun()
    switcher.switch(MODELS[2], 10.0, 0.0)
    settle, refuse, kill = switcher.tick(LOAD_LIMIT_S)
    assert settle == Settle(keep=False) and isinstance(refuse, Refuse) and isinstance(kill, Kill)


def test_a_trial_goes_on_in_a_new_process() -> None:
    switcher = on_trial()
    old, new = switcher.begin(100.0)
    assert isinstance(old, Load) and isinstance(new, Load)
    assert (old.active.name, old.trial, new.active.name, new.trial) == ("small", False, "large", True)
    assert switcher.used.name == "small" and switcher.tick(100.0 + LOAD_LIMIT_S - 1) == []


def test_words_about_what_was_not_asked_for_are_nothing() -> None:
    switcher = begun()
    assert switcher.on_loaded(99, TOLD, 0.0) == [] and switcher.on_load_failed(99, "x") == []
    assert switcher.on_result(1.0) == [] and switcher.on_failed("x") == [] and switcher.on_crash("x") == []
    assert switcher.withdraw() == []


def test_one_that_gave_way_is_not_told_as_used() -> None:
    switcher = begun()
    (first,) = switcher.switch(MODELS[1], 10.0, 0.0)
    (second,) = switcher.switch(MODELS[2], 10.0, 0.0)
    assert isinstance(first, Load) and isinstance(second, Load)
    assert switcher.on_load_failed(first.number, "x") == []
    assert [type(action) for action in switcher.on_loaded(second.number, TOLD, 0.0)] == [Use]


def test_what_runs_is_described_anew_and_keeps_its_facts() -> None:
    switcher = begun()
    switcher.describe(replace(MODELS[0], why="use: small", rate=0.5, governed="hot"))
    assert (switcher.active.why, switcher.active.rate, switcher.active.facts["nodes"]) == ("use: small", 0.5, 31)
    (load,) = switcher.begin(0.0)
    assert isinstance(load, Load)
    switcher.on_loaded(load.number, TOLD, 0.0)
    assert switcher.active.why == "use: small"


def test_a_model_that_can_not_be_loaded_any_more_is_lost() -> None:
    switcher = begun()
    (load,) = switcher.begin(0.0)
    assert isinstance(load, Load)
    (lose,) = switcher.on_load_failed(load.number, "damaged")
    assert isinstance(lose, Lose) and lose.active.name == "small"
