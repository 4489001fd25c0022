"""One module a verb of the command line; its first docstring line is the verb's summary."""

from __future__ import annotations
