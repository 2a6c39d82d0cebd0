"""Man pages and shell completion, made from the commands themselves: run as `python manual.py SITE FOLDER DATE VERSION`.

SITE holds edged and the pure Python packages that its commands import; FOLDER gets a Debian tree (usr/share/…).
"""

import sys
from pathlib import Path

import click
from click.shell_completion import BashComplete, FishComplete, ZshComplete

FILES = (
    ("/etc/edged/edged.toml", "the config; every key is explained in it, and in edged.toml(5)"),
    ("/var/lib/edged", "events that wait for the broker, installed models, measurements, the control socket"),
    ("/etc/edged/page_token", "the two tokens of the page, readable by root only"),
    ("/usr/share/doc/edged", "example configs, and the bill of materials"),
)
CODES = (
    ("0", "done"),
    ("1", "what was asked for did not work, or a bug"),
    ("2", "a wrong command, option or argument"),
    ("69", "nothing there to work with: no fitting model, no camera, no broker, no daemon"),
    ("74", "a file or folder that must be written cannot be"),
    ("75", "another edged runs with this state folder"),
    ("78", "the config has faults; all are listed"),
)


def main() -> None:
    site, folder, date, version = sys.argv[1:]
    from edged.__main__ import cli
    from edged.system.files import shipped

    assert Path(str(shipped())).is_relative_to(site), "the commands must be those of the package that is made"
    title = f'"{date}" "edged {version}" "edged"'
    context = click.Context(cli, info_name="edged")
    pages = {"man1/edged.1": overview(context, title), "man5/edged.toml.5": config_page(shipped("config", "edged.toml"), title)}
    for name in cli.list_commands(context):
        verb = cli.get_command(context, name)
        assert verb is not None
        pages[f"man1/edged-{name}.1"] = page(verb, context, name, title)
    for name, text in pages.items():
        write(Path(folder, "usr/share/man", name), text)
    for shell, where in (
        (BashComplete, "usr/share/bash-completion/completions/edged"),
        (ZshComplete, "usr/share/zsh/vendor-completions/_edged"),
        (FishComplete, "usr/share/fish/vendor_completions.d/edged.fish"),
    ):
        completion = shell(cli, {}, "edged", "_EDGED_COMPLETE")
        write(Path(folder, where), completion.source_template % completion.source_vars())


def overview(context: click.Context, title: str) -> str:
    group = context.command
    assert isinstance(group, click.Group)
    verbs = []
    for name in group.list_commands(context):
        verb = group.get_command(context, name)
        assert verb is not None
        verbs.append(f".TP\n.BR edged\\-{name} (1)\n{escape(verb.get_short_help_str(200))}")
    return "\n".join(
        [
            f".TH EDGED 1 {title}",
            ".SH NAME\nedged \\- camera to MobileNet to MQTT, offline",
            ".SH SYNOPSIS\n.B edged\n.I COMMAND\n[\\fIOPTION\\fR]... [\\fIARGUMENT\\fR]...",
            ".SH DESCRIPTION\n"
            + escape(
                "Looks through a camera, names what it sees with a small neural network, and tells MQTT "
                "subscribers. As a service it is started by systemd: systemctl status edged."
            ),
            ".SH COMMANDS",
            *verbs,
            ".SH FILES",
            *(f".TP\n.I {escape(name)}\n{escape(what)}" for name, what in FILES),
            ".SH EXIT STATUS",
            *(f".TP\n.B {code}\n{escape(what)}" for code, what in CODES),
            ".SH SEE ALSO\n.BR edged.toml (5),\n.BR systemctl (1),\n.BR mosquitto (8)\n",
        ]
    )


def page(verb: click.Command, parent: click.Context, name: str, title: str) -> str:
    context = click.Context(verb, info_name=name, parent=parent)
    lines = [
        f".TH EDGED\\-{name.upper()} 1 {title}",
        f".SH NAME\nedged\\-{name} \\- {escape(verb.get_short_help_str(200).rstrip('.'))}",
        ".SH SYNOPSIS\n.B " + escape(f"edged {name}") + "\n" + escape(" ".join(verb.collect_usage_pieces(context))),
        ".SH DESCRIPTION\n" + escape(verb.help or ""),
    ]
    if isinstance(verb, click.Group):
        lines.append(".SH COMMANDS")
        for below in verb.list_commands(context):
            one = verb.get_command(context, below)
            assert one is not None
            inner = click.Context(one, info_name=below, parent=context)
            usage = escape(f"{below} {' '.join(one.collect_usage_pieces(inner))}")
            lines += [f".SS {usage}\n{escape(one.help or '')}", *options(one, inner)]
    else:
        lines += [".SH OPTIONS", *options(verb, context)]
    return "\n".join([*lines, ".SH SEE ALSO\n.BR edged (1),\n.BR edged.toml (5)\n"])


def options(verb: click.Command, context: click.Context) -> list[str]:
    records = [record for param in verb.get_params(context) if (record := param.get_help_record(context))]
    return [f".TP\n.B {escape(names)}\n{escape(what) or chr(92) + '&'}" for names, what in records]


def config_page(config: Path, title: str) -> str:
    text = escape(config.read_text())
    return "\n".join(
        [
            f".TH EDGED.TOML 5 {title}",
            ".SH NAME\nedged.toml \\- the config of edged",
            ".SH DESCRIPTION\nThe shipped config, which names every key with its default:",
            f".nf\n{text}\n.fi",
            ".SH SEE ALSO\n.BR edged (1),\n.BR edged\\-check (1)\n",
        ]
    )


def escape(text: str) -> str:
    """Text for roff: no line may begin like a request, and a hyphen is the one that can be typed."""
    lines = text.replace("\\", "\\e").replace("-", "\\-").replace("\b", "").splitlines()
    return "\n".join(f"\\&{line}" if line.startswith((".", "'")) else line for line in lines)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


if __name__ == "__main__":
    main()
