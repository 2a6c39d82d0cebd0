"""edged page: what edged sees, in a browser; a process of its own, and a client of the running daemon."""

import importlib.util
import json
import os
import sys
from pathlib import Path

import click

from edged.commands import FILE

_file = click.option("--token-file", type=FILE, help="Instead of /etc/edged/page_token.")


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-c", "--config", type=FILE, help="The daemon's config; without it /etc/edged/edged.toml.")
@_file
@click.pass_context
def command(ctx: click.Context, config: Path | None, token_file: Path | None) -> int | None:
    """Serve the page on page.host and page.port, to whoever has a token.

    It asks the running daemon over its control socket, and writes nothing itself. As a service: systemctl enable --now edged-page.
    """
    if ctx.invoked_subcommand is not None:
        ctx.obj = token_file
        return None
    from edged.config.parts import shows_picture
    from edged.config.reading import SYSTEM_FILE, find_daemon_folder, load_settings
    from edged.errors import ConfigError, UnavailableError
    from edged.page.tokens import find_file, load_tokens

    settings = load_settings(config)
    page, shown = settings.page, config or SYSTEM_FILE
    if not page.enabled:
        raise ConfigError([f"{shown}: page.enabled is false: set it to true under [page], then start the page again"])
    if importlib.util.find_spec("microdot") is None:
        raise UnavailableError("the page needs its web library: pip install 'edged[page]'")
    tokens = token_file or find_file()
    load_tokens(tokens)
    values = page.model_dump(include={"host", "port", "names", "tls_cert", "tls_key"}) | {
        "shows_picture": shows_picture(settings),
        "folder": str(find_daemon_folder(config)),
        "config": str(shown.absolute()),
        "token_file": str(tokens),
    }
    # in place of this process, which has read the config with a library that the page does not need
    os.execv(sys.executable, [sys.executable, "-P", "-m", "edged.page", json.dumps(values)])
    return None


@command.command()
@click.option("--new", is_flag=True, help="Make new ones first; the page takes them with its next start.")
@click.option("--view", is_flag=True, help="Print the one that may only look.")
@_file
@click.pass_obj
def token(above: Path | None, new: bool, view: bool, token_file: Path | None) -> None:
    """Print the token with which a browser gets in. Needs root, as its file does."""
    from edged.page.tokens import FILE, load_tokens, new_tokens

    path = token_file or above or FILE
    tokens = new_tokens(path) if new else load_tokens(path)
    if new:
        click.echo(f"written to {path}; sudo systemctl restart edged-page", err=True)
    click.echo(tokens.view if view else tokens.control)
