"""How groups list their commands in `--help`: each with its whole first sentence, on as many lines as it takes.

The library cuts what does not fit beside the name, and what is cut is mostly what tells two commands apart.
"""

from typing import Any

import typer
from typer.core import TyperGroup

SENTENCE_MAX_CHARACTERS = 500


class Commands(TyperGroup):
    """A group whose list of commands cuts no sentence."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # its types are inner ones of the library
        """Write the commands, in the order they were added."""
        listed = ((name, self.get_command(ctx, name)) for name in self.list_commands(ctx))
        rows = [
            (name, command.get_short_help_str(SENTENCE_MAX_CHARACTERS))
            for name, command in listed
            if command is not None and not command.hidden
        ]
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)


def list_whole_sentences(group: typer.Typer) -> None:
    """Make a group of commands, and all groups in it, list them so."""
    for one in group.registered_groups:
        one.cls = Commands
        if one.typer_instance is not None:
            list_whole_sentences(one.typer_instance)
