"""What the command says when it was used wrongly, and how it ends."""

from typing import Final

import click

EXIT_USAGE: Final = 2
EXIT_PIPE: Final = 141
"""128 and the number of SIGPIPE, as a shell reports it."""


class WrongUseError(click.ClickException):
    """The command line cannot be carried out as it stands: one sentence says why and what to do."""

    exit_code = EXIT_USAGE


class FailureError(click.ClickException):
    """The command line was in order, but its work failed: one sentence says why."""

    exit_code = 1
