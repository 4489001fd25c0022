"""The everyday sounds in a bundle: the runtime reads them, and a stream goes by them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import edge_aac
from edge_aac.bundle.manifest import MANIFEST
from edge_aac.bundle.store import open_bundle
from edge_aac.errors import DataError
from edge_aac.models.seq2seq import Captioner
from edge_aac.streaming.sounds import caption_reader
from quantize.bundles.sounds import SOUNDS, add_sounds
from quantize.data.everyday.lexicon import english

_SHIPPED = Path(edge_aac.__file__).parent / "bundles" / "esc10-tiny"


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    """The shipped bundle with the everyday sounds."""
    folder = tmp_path / "listed"
    shutil.copytree(_SHIPPED, folder)
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
    captioner = Captioner.open(str(_SHIPPED))
    assert captioner.sound_names is None
    assert "sounds" not in json.loads((_SHIPPED / MANIFEST).read_text())
    assert caption_reader(captioner).sound("a dog barks") is None
