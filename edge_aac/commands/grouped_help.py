"""Help of verbs with many options: grouped, and as wide as the terminal.

Typer groups options (``rich_help_panel``) with the package rich alone, which the runtime does not ask for.
"""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand

WIDEST = 120
"""Columns of the help at most; where it is no terminal it has Click's 80."""


class GroupedCommand(TyperCommand):
    """A verb whose help shows its options in groups.

    Arguments and options of no group come first. The other groups follow in the order in which the verb has them,
    each under its ``rich_help_panel`` as a heading.
    """

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.context_settings.setdefault("max_content_width", WIDEST)

    # Any: the classes are Click's, or since 0.29 Typer's own.
    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the options with what they do."""
        groups: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is None:
                continue
            default = "Arguments" if parameter.param_type_name == "argument" else "Options"
            heading = getattr(parameter, "rich_help_panel", None) or default
            groups.setdefault(heading, []).append(record)
        for heading, records in groups.items():
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records)
