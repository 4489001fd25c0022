"""The list of attributions: nobody left out, whatever is shared."""

from __future__ import annotations

from pathlib import Path

from quantize.bundles.card import Attribution, everyday_table, read_attributions, write_attributions
from quantize.data.clips import UNKNOWN_LABEL


def test_recordings_of_one_package_share_a_row_and_each_is_found_again(tmp_path: Path) -> None:
    def unknown(file: str, package: str) -> Attribution:
        return Attribution(file, UNKNOWN_LABEL, f"{file}, of {package}", "", "GPL-2+", package)

    heard = [
        Attribution("1-rain.flac", "rain", "shower", "anna", "CC0", ""),
        Attribution("2-rain.flac", "rain", "shower", "anna", "CC0", ""),
        *(unknown(file, "games") for file in ("door.flac", "a, b.flac", 'the "bell".flac')),
        unknown("horn.flac", "trains"),
    ]
    listed = tmp_path / "ATTRIBUTIONS.csv"
    write_attributions(listed, heard)
    assert read_attributions(listed) == {recording.file: recording.label for recording in heard}
    text = listed.read_text(encoding="utf-8")
    assert text.count("GPL-2+") == 2, "once a package"
    assert text.count("CC0") == 2, "a recording of a known class has a row of its own"
    for recording in heard:
        assert recording.title.replace('"', '""') in text


def test_scores_of_everyday_sounds_stand_beside_their_teacher() -> None:
    clips = {"count": 351, "right_or_coarser_named": 0.71, "teacher": {"right_or_coarser_named": 0.74}}
    table = everyday_table({"everyday_clips": clips, "reliability": {"names": 9, "expected_calibration_error": 0.05}})
    assert "| everyday recordings, the sound or a coarser one named | 0.710 | 0.740 | 351 |" in table
    assert "| expected calibration error of named sounds | 0.050 |  | 9 |" in table
    assert everyday_table({"single_clips": {"count": 80, "right_sound_named": 0.9}}) == ""
