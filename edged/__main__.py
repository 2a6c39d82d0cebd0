"""`python -m edged` and the `edged` of the wheel: the front door of the commands.

One file for each verb in edged/commands; `edged VERB` imports that one only.

Whatever goes wrong leaves here as one sentence on stderr, never wrapped, and an exit code of docs/exit-codes.md.
"""

import sys

INTERRUPTED = 130  # as shells say it for SIGINT

try:
    import importlib
    import os
    import pkgutil
    from typing import NoReturn, TextIO

    import click

    import edged.commands
    from edged import __version__
    from edged.errors import FAILED, IO_FAILED, OK, EdgedError
    from edged.system.text import did_you_mean, printable_lines, without_secrets
except KeyboardInterrupt:  # most of the time before the command line is read goes by in here
    sys.exit(INTERRUPTED)

NOBODY_READS = 141  # and for SIGPIPE


class Verbs(click.Group):
    """The modules of edged/commands as commands, imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(module.name for module in pkgutil.iter_modules(edged.commands.__path__))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        command = getattr(importlib.import_module(f"edged.commands.{cmd_name}"), "command", None)
        return command if isinstance(command, click.Command) else None

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if not name.startswith("-") and name not in self.list_commands(ctx):
            ctx.fail(f'no command "{name}"{did_you_mean(name, self.list_commands(ctx))}; edged --help lists them')
        return super().resolve_command(ctx, args)


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="edged", message="%(prog)s %(version)s")
def cli() -> None:
    """See on the edge, offline: camera → MobileNet → MQTT."""


def main() -> NoReturn:
    """Run the command line and exit."""
    _hold_streams()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # a file name may hold any bytes
    code = _run()
    if sys.stderr is not None:
        try:
            sys.stderr.flush()
        except OSError:  # a log that nobody could take is no other exit code
            _discard(sys.stderr)
    sys.exit(code)


def _hold_streams() -> None:
    """Whoever closed stdin, stdout or stderr gets nothing in their place: no file of ours may be taken for one of them."""
    for handle in range(3):
        try:
            os.fstat(handle)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free, which is this one
            os.set_inheritable(handle, True)


def _run() -> int:
    try:
        code = _code()
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except EdgedError as error:
        _say(str(error))
        return error.exit_code
    except click.Abort:
        return INTERRUPTED
    except click.exceptions.NoArgsIsHelpError as error:
        _say(error.ctx.get_help() if error.ctx else "")
        return error.exit_code
    except click.ClickException as error:
        _say(error.format_message() if not isinstance(error, click.UsageError) else _usage(error))
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        return NOBODY_READS if _drop_output() else FAILED
    except OSError as error:
        if error.filename is not None or not _drop_output():
            raise  # not about what we print: a bug, with its traceback
        _say(f"the output cannot be written: {error.strerror}")
        return IO_FAILED


def _code() -> int:
    streams = sys.stdout, sys.stderr
    try:
        code = cli.main(prog_name="edged", standalone_mode=False)
    except SystemExit as end:
        if sys.stdout is not streams[0]:  # click found out that nobody reads, and hid it
            sys.stdout, sys.stderr = streams
            raise BrokenPipeError from None
        code = end.code
    return code if isinstance(code, int) else OK


def _usage(error: click.UsageError) -> str:
    usage = f"{error.ctx.get_usage()}\n" if error.ctx else ""
    return f"{usage}edged: {' '.join(error.format_message().split())}"


def _say(text: str) -> None:
    """To stderr, printable and without secrets of addresses; nobody listening there is no reason to fail otherwise."""
    if sys.stderr is not None:
        try:
            click.echo(printable_lines(without_secrets(text)), err=True)
        except OSError:
            return


def _drop_output() -> bool:
    if sys.stdout is None:
        return False
    _discard(sys.stdout)
    return True


def _discard(stream: TextIO) -> None:
    """What is still buffered for a stream that takes nothing must not fail again when Python exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


if __name__ == "__main__":
    main()
