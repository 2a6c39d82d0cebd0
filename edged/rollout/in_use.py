"""Which installed models somebody still needs: what the daemon runs or tries, what is wished for, what the config names.

For commands beside the daemon. Of the last good pair nothing is needed here: it has a copy of its own.
"""

from pathlib import Path

from edged.config.reading import Settings, to_name
from edged.errors import EdgedError, ModelError
from edged.models.names import is_path
from edged.models.store import Store
from edged.process.control import ask
from edged.rollout.override import load_override

_FIRST = "let another one run first: 'edged use auto', or 'edged use MODEL'"


def check_not_running(folder: Path, name: str) -> None:
    """Raises ModelError where the daemon of this state folder runs or tries the model of that name. Takes a moment."""
    _check_not_running(name, *_told(folder)[:2])


def check_not_needed(settings: Settings, name: str) -> None:
    """Raises ModelError where the model of that name is run, wished for, or named in the config. Takes a moment.

    One that can't be used is needed by nobody: to take it away is its cure.
    """
    folder = settings.state_folder
    store = Store(folder)
    held = next((one for one in store.held() if one.card.name == name), None)
    if held is None or held.bundled or name in store.damaged():
        return
    try:
        store.open(held)
    except ModelError:
        return
    model, trial, wish = _told(folder)
    _check_not_running(name, model, trial)
    override = load_override(settings)
    if name in (wish, override.wish if override is not None else ""):
        raise ModelError(f"{name} is what was wished for, and edged begins with it: {_FIRST}")
    for keys, model in _named(settings):
        if model == name or (is_path(model) and Path(model).expanduser().absolute() == held.path.absolute()):
            origin = settings.origins.get(to_name(keys), "the config")
            raise ModelError(f"{name} is named in {origin}: give {to_name(keys)} another model there first")


def _check_not_running(name: str, model: str, trial: str) -> None:
    if name in (model, trial):
        how = "runs now" if name == model else "is on trial"
        raise ModelError(f"{name} {how}, and the running model is left alone: {_FIRST}")


def _told(folder: Path) -> tuple[str, str, str]:
    """(what runs, what is on trial, the wish) as the daemon says; empty where none answers."""
    try:
        answer = ask(folder, {"verb": "status"})
    except EdgedError:
        return "", "", ""
    model, trial, wish = (str(answer.get(key) or "") for key in ("model", "trial", "wish"))
    return model, trial, wish


def _named(settings: Settings) -> list[tuple[tuple[str, ...], str]]:
    """Each key that names a model, and what it says."""
    profiles = [(("profile", name, "model", "name"), one.model.name) for name, one in settings.profile.items()]
    return [(("model", "name"), settings.model.name), *profiles]
