"""Home Assistant, a broker, and two nodes with three sources: one world for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.home_assistant.documented import documented_automations, documented_rules
from tests.home_assistant.parts import Home, Radio, node
from tests.home_assistant.world import World

NAMES = 'entity_names = ["caption=Gehört", "listening=Mikrofon an"]\ndevice_name = "Küche"\n'
COMPONENTS = 'discovery_form = "components"\n'
RULE = '[[alerts]]\nname = "anything"\nsounds = ["a", "an", "the", "*s"]\nhold_s = 1\n'


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
