"""Pack what a bug report needs into one archive, without secrets, sound or what was heard."""

from __future__ import annotations

import typer

app = typer.Typer(add_completion=False, rich_markup_mode=None)
