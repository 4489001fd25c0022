"""The last build of a bundle's engines, whatever became of it: `edge-aac doctor --gpu` tells it to whoever must help.

A build that fails writes nothing into the bundle, so its report is kept in the user's state folder.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge_aac import __version__
from edge_aac.json_files import write_table
from edge_aac.state_folder import user_state_folder

SCHEMA = "edge-aac/last-build/1"


def reports_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Folder of the reports: one file a bundle."""
    return user_state_folder(environment) / "builds"


def keep_report(bundle: str, report: Mapping[str, Any]) -> Path:
    """Keep what a build reported, in the place of the one before.

    Args:
        bundle: name or folder of the bundle, as the user gave it.
        report: what `edge-aac build-engine` prints, or of a build that broke off its ``failure`` alone.

    Returns:
        The file.

    Raises:
        OSError: it cannot be written.
    """
    path = _file_of(bundle)
    path.parent.mkdir(parents=True, exist_ok=True)
    made = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    write_table(path, {"schema": SCHEMA, "made": made, "edge_aac": __version__, "bundle": bundle, "report": report})
    return path


def last_report(bundle: str) -> dict[str, Any] | None:
    """What the last build of a bundle reported, with ``made`` and ``edge_aac``; None where none is kept here."""
    try:
        table = json.loads(_file_of(bundle).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    known = isinstance(table, dict) and table.get("schema") == SCHEMA and isinstance(table.get("report"), dict)
    return table if known else None


def _file_of(bundle: str) -> Path:
    """A bundle that is given as a folder has the file of its last name."""
    name = re.sub(r"[^A-Za-z0-9._-]", "_", os.path.basename(os.path.abspath(bundle)))
    return reports_folder() / f"{name}.json"
