"""One file for each verb; here what many of their options share."""

from pathlib import Path

import click

# Whoever opens the file says why it can't be read, with its exit code; the option would call it a wrong option.
FILE = click.Path(path_type=Path, readable=False)
