"""The everyday sounds in a bundle: the runtime reads them, and a stream goes by them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edge_aac.bundle.manifest import MANIFEST
from edge_aac.bundle.store import open_bundle
from edge_aac.errors import DataError
from edge_aac.models.seq2seq import Captioner
from edge_aac.streaming.sounds import caption_reader
from quantize.bundles.sounds import SOUNDS, add_sounds
from quantize.data.everyday.lexicon import english
from tests.edge_aac.models.ensemble_bundles import tiny_member


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    """A bundle to which the everyday sounds were added."""
    folder = Path(tiny_member(tmp_path / "listed", seed=1))
    add_sounds(folder, english().names)
    return folder


def test_the_runtime_knows_every_phrase(listed: Path) -> None:
    lexicon = english()
    reader = caption_reader(Captioner.open(str(listed)))
    rng = np.random.default_rng(0)
    for sound in lexicon.sounds.values():
        clause = sound.clauses[int(rng.integers(len(sound.clauses)))]
        assert reader.sound(f"{clause.subject} {clause.present}") == sound.name
        assert reader.kin(sound.name) == set(lexicon.names.ancestors(sound.name))


def test_the_bundle_vouches_for_the_list(listed: Path) -> None:
    assert (listed / SOUNDS).stat().st_size < 200_000
    assert SOUNDS in {file.file for file in open_bundle(str(listed)).manifest.files()}
    add_sounds(listed, english().names)  # again: what is there is replaced
    (listed / SOUNDS).write_text("{}")
    with pytest.raises(DataError, match=SOUNDS):
        Captioner.open(str(listed))


def test_a_bundle_without_a_list_is_as_before(tmp_path: Path) -> None:
    folder = tiny_member(tmp_path / "unlisted", seed=1)
    captioner = Captioner.open(folder)
    assert captioner.sound_names is None
    assert "sounds" not in json.loads((Path(folder) / MANIFEST).read_text())
    assert caption_reader(captioner).sound("a dog barks") is None
