"""Groups of commands that know what a mistyped command was meant to be."""

import difflib

import click


class SuggestingGroup(click.Group):
    """A group that suggests the command nearest to an unknown one."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that is meant. Raises click.UsageError when there is none."""
        if self.get_command(ctx, args[0]) is None and not ctx.resilient_parsing:
            close = difflib.get_close_matches(args[0], self.list_commands(ctx), 1)
            if close:
                ctx.fail(f"No such command {args[0]!r}; did you mean {close[0]!r}?")
        return super().resolve_command(ctx, args)
