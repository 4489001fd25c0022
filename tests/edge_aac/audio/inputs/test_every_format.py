"""Every container, sample format and byte order that the library lists, on every way into the program."""

from __future__ import annotations

from pathlib import Path

import pytest
import soundfile

from edge_aac.audio.sources.file import read_blocks
from edge_aac.errors import EdgeAacError
from tests.edge_aac.audio.inputs.cases import Tally
from tests.edge_aac.audio.inputs.headers import wrong_fields
from tests.edge_aac.audio.inputs.hearing import REFUSED, WAYS, hear, verdict
from tests.edge_aac.audio.inputs.others import every_layout, unwritable, written_containers
from tests.edge_aac.audio.inputs.sounds import sound

pytestmark = pytest.mark.one_python


def test_the_table_of_lengths_holds_of_good_files() -> None:
    assert list(wrong_fields()) == []


def test_few_layouts_are_left_out() -> None:
    """What the library lists but cannot write is no more than this: no layout is left out unseen."""
    left_out = {name.rpartition("-")[0].removesuffix("-little").removesuffix("-big") for name in unwritable()}
    assert left_out <= {"AIFF-DWVW_12", "WAV-MPEG_LAYER_III", "MP3-MPEG_LAYER_I", "MP3-MPEG_LAYER_II"}


@pytest.mark.parametrize("container", written_containers())
@pytest.mark.parametrize("way", WAYS)
def test_the_whole_sound_is_heard(tmp_path: Path, container: str, way: str) -> None:
    Tally().try_all(every_layout(container), way, tmp_path).check()


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT", "ULAW"])
def test_headerless_files_are_refused(tmp_path: Path, subtype: str) -> None:
    path = tmp_path / "raw"
    soundfile.write(path, sound(16_001), 16_000, format="RAW", subtype=subtype)
    outcome = hear(path.read_bytes(), "file", tmp_path)
    assert verdict(outcome, sound(16_001), exact=True) == REFUSED, outcome


@pytest.mark.parametrize("subtype", soundfile.available_subtypes("SD2"))
def test_sd2_whose_header_is_another_file(tmp_path: Path, subtype: str) -> None:
    path = tmp_path / "sound.sd2"
    soundfile.write(path, sound(16_001), 16_000, format="SD2", subtype=subtype)
    try:
        heard = sum(map(len, read_blocks(path)))
    except EdgeAacError as error:
        assert "\n" not in str(error)
    else:
        assert heard == 16_001
