"""What docs/home-assistant.md promises."""

from __future__ import annotations

import re
from pathlib import Path

_DOCS = Path(__file__).parents[2] / "docs/home-assistant.md"
_DISABLED = "sensor.kitchen_temperature"


def documented_automations() -> str:
    """The automations of docs/home-assistant.md as they are, but for five minutes that are not waited for."""
    text = "".join(re.findall(r"```yaml\n(- .*?)```", _DOCS.read_text(encoding="utf-8"), re.DOTALL))
    assert text.count("alias:") == 5  # noqa: PLR2004
    assert text.count('for: "00:05:00"') == 1
    return text.replace('for: "00:05:00"', 'for: "00:00:03"')


def documented_entities() -> set[str]:
    """Entities of the node kitchen that docs/home-assistant.md names as those that appear."""
    section = _DOCS.read_text(encoding="utf-8").partition("## What appears")[2].partition("\n## ")[0]
    return set(re.findall(r"`([a-z_]+\.kitchen_\w+)`", section)) - {_DISABLED}


def documented_rules() -> str:
    """The rules for alerts of docs/home-assistant.md as they are."""
    found = re.findall(r"```toml\n(\[\[alerts\]\].*?)```", _DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert len(found) == 2  # noqa: PLR2004
    return "".join(found)
