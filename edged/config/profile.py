"""Profiles: which one is meant now, and the settings as they are with it. Pure; the time is handed in."""

from edged.config.settings import Settings
from edged.errors import NoProfileError

MARK = "@"  # of a profile, where a model's name could stand too
FILE = "@file"  # what the file says, with no wish beside it
OF_ONE_MODEL = ("labels",)  # keys of [model] that are empty with another model: what they say is said of the one named beside them


def with_wish(settings: Settings, wish: str, minute: int | None) -> Settings:
    """The settings with the profile of the hour or of the wish, and with the model of the wish.

    wish: empty, a model's name, `auto`, or `@profile`, which also says that no other hour's is meant. minute: of the local
    day; None when nobody knows it. Raises NoProfileError for a profile that is not in the file.
    """
    is_named = wish.startswith(MARK)  # `@` alone too: no profile has an empty name that a wish could mean
    name = wish.removeprefix(MARK) if is_named else to_hour(settings, minute)
    if is_named and (not name or name not in settings.profile):
        known = ", ".join(f"{MARK}{one}" for one in sorted(settings.profile)) or "none"
        raise NoProfileError([f'there is no profile "{name}"; the config has {known}'])
    if name:
        profile = settings.profile[name]
        camera = settings.camera.model_copy(update={"fps": profile.camera.fps})
        settings = settings.model_copy(update={"model": profile.model, "decision": profile.decision, "camera": camera})
    if wish and not is_named:
        model = settings.model.model_copy(update={"name": wish} | dict.fromkeys(OF_ONE_MODEL, ""))
        settings = settings.model_copy(update={"model": model})
    return settings


def to_hour(settings: Settings, minute: int | None) -> str:
    """The first profile of the file whose time it is; empty for none."""
    if minute is None:
        return ""
    for name, profile in settings.profile.items():
        if profile.from_ and profile.until and _between(_minutes(profile.from_), minute, _minutes(profile.until)):
            return name
    return ""


def _between(begins: int, minute: int, ends: int) -> bool:
    """Also over midnight."""
    return begins <= minute < ends if begins < ends else minute >= begins or minute < ends


def _minutes(time_of_day: str) -> int:
    hours, minutes = time_of_day.split(":")
    return int(hours) * 60 + int(minutes)
