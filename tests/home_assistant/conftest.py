"""Home Assistant, a broker, and two nodes with three sources: one world for all tests of this folder."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.home_assistant.parts import Home, Process, Radio, node

NAMES = 'entity_names = ["caption=Gehört", "listening=Mikrofon an"]\ndevice_name = "Küche"\n'
COMPONENTS = 'discovery_form = "components"\n'
DOCS = Path(__file__).parents[2] / "docs/home-assistant.md"
RULE = '[[alerts]]\nname = "anything"\nsounds = ["a", "an", "the", "*s"]\nhold_s = 1\n'


@dataclass
class World:
    """All parts."""

    home: Home
    radio: Radio
    kitchen: Process
    attic: Process


def documented_automations() -> str:
    """The automations of docs/home-assistant.md as they are, but for five minutes that are not waited for."""
    text = "".join(re.findall(r"```yaml\n(- .*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL))
    assert text.count("alias:") == 5  # noqa: PLR2004
    assert text.count('for: "00:05:00"') == 1
    return text.replace('for: "00:05:00"', 'for: "00:00:03"')


def documented_rules() -> str:
    """The rules for alerts of docs/home-assistant.md as they are."""
    found = re.findall(r"```toml\n(\[\[alerts\]\].*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert len(found) == 2  # noqa: PLR2004
    return "".join(found)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("home")
    home, radio = Home(folder), Radio()
    home.add_automations(documented_automations())
    kitchen = node(home, radio, "kitchen", ["garden", "hall"], NAMES + documented_rules())
    attic = node(home, radio, "attic", ["garden"], COMPONENTS + RULE)
    made = World(home, radio, kitchen, attic)
    try:
        home.start_broker()
        for part in (home.hass, kitchen, attic):
            part.start()
        yield made
    finally:
        kitchen.end()
        attic.end()
        home.close()
        radio.close()
