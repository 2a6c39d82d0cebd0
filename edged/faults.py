"""What can be wrong while edged works on: a kind and its fields. The sentence is made where it is shown, never read again.

One line a kind: the sentence for people, and what they can do about it.
"""

from dataclasses import dataclass
from string import Formatter

Field = str | float

# kind: (sentence, cure); the names in braces are the fields
_KINDS: dict[str, tuple[str, str]] = {
    "config": ("config: {reason}", "mend the file; what ran before still runs"),
    "last_good_config": ("the last good config runs: {reason}", "mend the file"),
    "last_good_model": ("the last good model runs: {reason}", "run 'edged use NAME', or mend model.name"),
    "last_good": ("the last good config and model run: {reason}", "mend the config, or run 'edged use NAME'"),
    "last_good_not_kept": ("what runs well can not be kept as last good: {reason}", "free space in the state folder"),
    "model_refused": ("{reason}; {runs} runs", "run 'edged use NAME', or set model.name to another"),
    "model_gone": ("model {model} can not be loaded any more: {reason}", "install it again: edged models add"),
    "vision_lost": ("the vision process was lost {times:g} times in a row ({reason}); it is tried again", "see the log"),
    "safe_mode": ("safe mode, no vision: {reason}; mend the config, or run 'edged use NAME' or 'edged reload'", ""),
    "after_safe_mode": ("vision is tried again after safe mode", ""),
    "clock": ("profiles with hours wait for a clock that somebody has set", "set the clock: timedatectl"),
    "governor": ("governor: {reason}", ""),
    "governor_step": ("governor: {model} can not be used: {reason}", "run 'edged models verify'"),
    "fit_failed": ("model: fit failed: {reason}; it is tried again", "run 'edged fit'"),
    "nothing_fits": ("model: nothing fits the budget; edged fit shows what would", "run 'edged fit'"),
    "not_watched": ("{path} is not watched ({reason}); use 'edged reload' after a change", "run 'edged reload'"),
    "damaged_file": ("{reason}", ""),
    "damaged_card": ("{reason}", ""),
    "broker": ("{reason}", "run 'edged doctor'"),
    "broker_warning": ("{reason}", ""),
    "client_id_taken": ("{reason}", "set mqtt.client_id to another name on one of the two"),
    "delivery": ("{reason}", ""),
    "events_refused": (
        "the broker refused {count:g} events since it last took one: {reason}",
        "check its access list and its limits; edged outbox list shows them",
    ),
    "topic_refused": ("the broker does not take {topic}: {reason} ({count:g} times)", "check its access list and its limits"),
    "put_off": ("the broker puts events off (reason code {code}), {count:g} times in a row; they wait", "check its quotas"),
    "unanswered": (
        "the broker takes messages and acknowledges none: {count:g} had no answer within {limit_s:g} s; they wait",
        "look at the broker",
    ),
    "path": (
        "the connection ended {count:g} times in a row before anything was acknowledged: the network or the broker breaks it,"
        " and nothing is given up",
        "look at the broker and what lies between",
    ),
    "set_aside": (
        "{name} ({size_bytes:g} bytes) is set aside, because {reason}; the others go past it, and it is tried again",
        "run 'edged outbox discard' to give it up",
    ),
    "set_aside_more": ("{count:g} more messages are set aside", "run 'edged outbox list'"),
    "camera": ("camera: {reason}", ""),
    "state_folder": (
        "another edged could use {path} beside this one: {reason}",
        "stop the other one, or let this one write there",
    ),
    "control": ("commands can not reach this daemon: {path}: {reason}", ""),
}


@dataclass(frozen=True, slots=True)
class StandingFault:
    """One that lasts until it is mended. Made by `to_standing`."""

    kind: str
    fields: tuple[tuple[str, Field], ...]

    @property
    def sentence(self) -> str:
        return _KINDS[self.kind][0].format(**dict(self.fields))

    @property
    def cure(self) -> str:
        """What to do; empty where the sentence says it, or where nothing is to be done."""
        return _KINDS[self.kind][1]

    def to_dict(self) -> dict[str, Field]:
        """For programs: the kind and the fields."""
        return {"kind": self.kind, **dict(self.fields)}


def to_standing(kind: str, **fields: Field) -> StandingFault:
    """Pure. A kind or a field that is not in the table is a bug: KeyError."""
    wanted = {name for _, name, _, _ in Formatter().parse(_KINDS[kind][0]) if name}
    if wanted != set(fields):
        raise KeyError(f"{kind} has the fields {sorted(wanted)}, not {sorted(fields)}")
    return StandingFault(kind, tuple(sorted(fields.items())))


def kinds() -> list[str]:
    return sorted(_KINDS)
