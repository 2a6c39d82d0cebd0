"""A config that is named with -c and can't be read: every command that takes one says so, and looks at no other daemon's folder."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from edged.__main__ import cli
from edged.errors import CONFIG, FAILED

_OTHERWISE = {
    ("init",): "it writes the file",
    ("doctor",): "it is one of its findings, beside which it looks at the rest of the board",
}


def walked(group: click.Group, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command with the words that lead to it; a group counts where it does something by itself."""
    context = click.Context(group)
    for name in group.list_commands(context):
        one = group.get_command(context, name)
        assert one is not None, name
        if not isinstance(one, click.Group) or one.invoke_without_command:
            yield (*above, name), one
        if isinstance(one, click.Group):
            yield from walked(one, (*above, name))


def words_of(command: click.Command) -> list[str]:
    """What it must be given besides -c, and what it may be given that makes it do something."""
    words = list[str]()
    for one in command.params:
        value = one.type.choices[0] if isinstance(one.type, click.Choice) else "1s" if one.type.name == "duration" else "x"
        if isinstance(one, click.Argument) and one.type is not click.UNPROCESSED:
            words.append(str(value))
        elif isinstance(one, click.Option) and one.required:
            words += [one.opts[-1], str(value)]
    return words


TAKES_ONE = {
    words: command
    for words, command in walked(cli)  # type: ignore[arg-type]
    if any("-c" in one.opts and one.name == "config" for one in command.params)
}


WITHOUT_RIGHTS = ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all"] if os.geteuid() == 0 else []  # a root like others


def edged(*words: str, folder: Path, by: list[str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [*(by or []), sys.executable, "-m", "edged", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=folder)


def test_the_table_is_walked() -> None:
    assert {("status",), ("outbox", "list"), ("reload",), ("teach", "marks"), ("replay",), ("models", "remove")} <= TAKES_ONE.keys()
    assert _OTHERWISE.keys() <= TAKES_ONE.keys()


@pytest.mark.parametrize("words", sorted(TAKES_ONE.keys() - _OTHERWISE.keys()), ids=" ".join)
def test_a_config_that_is_not_there_is_said(words: tuple[str, ...], tmp_path: Path) -> None:
    absent = tmp_path / "absent.toml"
    done = edged(*(word for word in words if word != "NAME"), *words_of(TAKES_ONE[words]), "-c", str(absent), folder=tmp_path)
    assert (done.returncode, done.stdout) == (CONFIG, ""), done.stderr
    assert done.stderr == f"{absent}: cannot be read: No such file or directory: name another file with -c, or " + (
        "'edged init -c FILE' writes one\n"
    )
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("words", sorted(TAKES_ONE.keys() - _OTHERWISE.keys()), ids=" ".join)
def test_a_config_that_may_not_be_read_is_said(words: tuple[str, ...], tmp_path: Path) -> None:
    """By the one sentence and code of a config, and not as a wrong option: click would look first."""
    closed = tmp_path / "closed.toml"
    closed.touch(0o000)
    given = [*(word for word in words if word != "NAME"), *words_of(TAKES_ONE[words]), "-c", str(closed)]
    done = edged(*given, folder=tmp_path, by=WITHOUT_RIGHTS)
    assert (done.returncode, done.stdout) == (CONFIG, ""), done.stderr
    assert done.stderr.startswith(f"{closed}: cannot be read: Permission denied; only ") and done.stderr.count("\n") == 1


def test_no_path_is_looked_at_before_the_command_is() -> None:
    """The same for pictures, labels and what is written: each command says it in its own words."""
    paths = [(words, one.name, one.type) for words, command in walked(cli) for one in command.params]  # type: ignore[arg-type]
    ours = [(words, name) for words, name, kind in paths if isinstance(kind, click.Path) and not kind.exists and kind.readable]
    assert ours == []


def test_the_doctor_has_it_among_its_findings(tmp_path: Path) -> None:
    done = edged("doctor", "-c", str(tmp_path / "absent.toml"), folder=tmp_path)
    assert done.returncode == FAILED and "absent.toml: cannot be read: No such file" in done.stdout


@pytest.mark.parametrize("words", [("status",), ("outbox", "list")], ids=" ".join)
def test_what_is_no_file_is_said(words: tuple[str, ...], tmp_path: Path) -> None:
    done = edged(*words, "-c", str(tmp_path), folder=tmp_path)
    assert done.returncode == CONFIG and done.stderr == f"{tmp_path}: is not a file: name a TOML file\n"


def test_a_config_with_faults_still_leads_to_its_daemon(tmp_path: Path) -> None:
    config = tmp_path / "edged.toml"
    config.write_text(f'state_folder = "{tmp_path}/state"\n[camera\n')
    done = edged("status", "-c", str(config), folder=tmp_path)
    assert f"no edged answers at {tmp_path}/state/control.sock" in done.stderr
