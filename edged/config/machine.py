"""A config against what is on this machine: the files that it names, the models, and the labels that they know."""

import contextlib
import stat
from collections.abc import Iterator
from pathlib import Path

from edged.config.complete import Values, get
from edged.config.faults import Fault, show
from edged.config.reading import Reading, Settings, choose_state_folder, read_settings
from edged.config.source import Keys
from edged.errors import ConfigError, LabelsError, ModelError
from edged.models.labels import load_labels
from edged.models.names import is_path
from edged.models.store import Store
from edged.system.text import did_you_mean

_FILES: tuple[Keys, ...] = (
    ("model", "labels"),
    ("mqtt", "password_file"),
    ("mqtt", "tls_ca"),
    ("mqtt", "tls_cert"),
    ("mqtt", "tls_key"),
    ("camera", "password_file"),
    ("page", "tls_cert"),
    ("page", "tls_key"),
)
_MOST_SUGGESTED = 5  # with a label that may be meant, of thousands
_CREDENTIALS = "/run/credentials/"  # systemd shows them to the service only, while it runs


def read_checked(path: Path | None) -> Reading:
    """A config without a fault, also by what this machine has. What the camera lacks is the camera's to say. Raises ConfigError."""
    reading = read_settings(path)
    if error := reading.to_error(surroundings(reading)):
        raise error
    return reading


def read_parts(path: Path | None) -> tuple[Reading, ConfigError | None]:
    """As `read_checked`, but where nothing is wrong with the file except models that it names, their faults are handed back."""
    reading = read_settings(path)
    faults = surroundings(reading)
    models = [fault for fault in faults if "model" in fault.keys[:-1]]
    if reading.faults or len(models) < len(faults):
        error = reading.to_error(faults)
        assert error is not None
        raise error
    return reading, reading.to_error(models)


def surroundings(reading: Reading, *, camera: bool = False, folder: Path | None = None) -> list[Fault]:
    """The faults of keys that stand in the file and are sound by themselves. Reads model and label files, opens no device.

    `camera`: also pictures or a device that are not there now. For a daemon that is no fault of the config: they may come.
    folder: where the models are, if not in the state folder of whoever looks.
    """
    settings, values = reading.settings, reading.source.values
    wrong = {fault.keys for fault in reading.faults}
    found = [*_files(settings), *(_camera(reading) if camera else [])]
    try:
        store = Store(folder or choose_state_folder(settings.state_folder))
        found += [*_models(settings, store), *_labels(settings, store, values)]
    except ModelError:
        if not reading.faults:  # else a damaged card can wait until the config is mended
            raise
    return [fault for fault in found if fault.keys not in wrong and get(values, fault.keys) is not None]


def _camera(reading: Reading) -> list[Fault]:
    settings, source = reading.settings, reading.settings.camera.source
    if settings.camera.kind == "v4l2" and source.isdecimal():
        source = f"/dev/video{source}"  # as the camera opens it
    elif settings.camera.kind != "pictures" and not source.startswith("/dev/"):
        return []
    try:
        Path(source).stat()
        return []
    except PermissionError:
        return []  # this user may not look; the service's user may
    except OSError as error:
        what = f"{source} cannot be read: {error.strerror}"
    if settings.origins["camera.source"] != "default":
        return [Fault(("camera", "source"), what)]
    # while something else is wrong with the camera, it may not be the default's that is meant
    return [] if any(fault.keys[:1] == ("camera",) for fault in reading.faults) else [Fault(("camera", "kind"), what)]


def _files(settings: Settings) -> Iterator[Fault]:
    values = settings.model_dump()
    for keys in _FILES:
        yield from _file(keys, get(values, keys))
    for name, profile in settings.profile.items():
        yield from _file(("profile", name, "model", "labels"), profile.model.labels)


def _file(keys: Keys, name: str) -> Iterator[Fault]:
    if not name or name.startswith(_CREDENTIALS):
        return
    try:
        if not stat.S_ISREG(Path(name).stat().st_mode):
            yield Fault(keys, f"{name} is not a file")
    except PermissionError:
        return  # as above
    except OSError as error:
        yield Fault(keys, f"{name} cannot be read: {error.strerror}")


def _models(settings: Settings, store: Store) -> Iterator[Fault]:
    wanted = {(): settings.model} | {("profile", name): profile.model for name, profile in settings.profile.items()}
    for above, model in wanted.items():
        key = "family" if model.name == "auto" else "name"
        try:
            if any(_file(("labels",), model.labels)):
                continue  # told already
            faults = list(_file((*above, "model", "name"), model.name)) if is_path(model.name) else []
            yield from faults
            if not faults:
                store.find(model.name, model.labels, model.family)
        except LabelsError as error:
            yield Fault((*above, "model", "labels" if model.labels else key), str(error))
        except ModelError as error:
            yield Fault((*above, "model", key), str(error))


def _labels(settings: Settings, store: Store, values: Values) -> Iterator[Fault]:
    """Names in groups, in ignore and for Home Assistant that no model here, and none of the catalogue, can ever give."""
    known, told = set[str](), 0
    decisions = {(): settings.decision} | {("profile", name): profile.decision for name, profile in settings.profile.items()}
    for above, decision in decisions.items():
        named: dict[Keys, tuple[str, ...]] = {(*above, "decision", "ignore"): decision.ignore}
        named |= {(*above, "decision", "groups", group): labels for group, labels in decision.groups.items()}
        if not above:
            named[("homeassistant", "labels")] = settings.homeassistant.labels
        for keys, labels in named.items():
            if get(values, keys) is None:
                continue
            known = known or known_labels(settings, store)
            for label in labels:
                if label not in known:
                    told += 1
                    near = did_you_mean(label, known) if told <= _MOST_SUGGESTED else ""
                    yield Fault(keys, f"no model knows the label {show(label)}{near}")


def known_labels(settings: Settings, store: Store) -> set[str]:
    """Every label of the models that are installed, of the catalogue, and of the labels files that the config names."""
    known: set[str] = set()
    cards = [(one.card, one.path) for one in store.held()] + [(card, Path()) for card in store.shipped.cards]
    for card, path in cards:
        with contextlib.suppress(ModelError):
            known.update(store.labels_of(card, "", path))
    for model in (settings.model, *(profile.model for profile in settings.profile.values())):
        if model.labels:
            with contextlib.suppress(ModelError):
                known.update(load_labels(Path(model.labels)))
    return known
