"""Tables of captions: what is read of them, which file is meant, and what is listed as broken."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from tokenizers import Tokenizer, models

from edge_aac.errors import DataError, InputMissingError
from edge_aac.models.tokens import plain_text, to_text
from quantize.data.manifests import (
    BrokenClip,
    Manifest,
    audiocaps_manifest,
    clotho_manifest,
    folder_manifest,
)

RATE = 8_000
CLOTHO_HEADER = "file_name,caption_1,caption_2,caption_3,caption_4,caption_5\n"
AUDIOCAPS_HEADER = "audiocap_id,youtube_id,start_time,caption\n"


def sound(path: Path, seconds: float = 1.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros(round(seconds * RATE), np.int16), RATE)
    return path


def table(folder: Path, text: str, name: str = "captions.csv", encoding: str = "utf-8") -> Path:
    path = folder / name
    path.write_text(text, encoding=encoding)
    return path


def audiocaps(folder: Path, rows: str) -> Manifest:
    return audiocaps_manifest(table(folder, AUDIOCAPS_HEADER + rows), folder, split="test")


def test_captions_are_normalised_as_the_captioner_says_them() -> None:
    text = 'A "dog" barks, (twice); then:  silence!? Isn\'t it. [off-key]'
    tokenizer = Tokenizer(models.WordLevel({text: 0}, unk_token=text))
    assert plain_text(text) == to_text(tokenizer, [0]) == "a dog barks twice then silence isn't it off-key"


def test_clotho_with_its_metadata(tmp_path: Path) -> None:
    sound(tmp_path / "audio" / "Rain, on a roof.wav")
    sound(tmp_path / "audio" / "Bell.flac")
    captions = table(
        tmp_path,
        CLOTHO_HEADER + '"Rain, on a roof.wav",It rains.,"Rain, and wind",It rains,Drops fall.,It pours!\n'
        "Bell.wav,A bell,A bell rings,One bell,Bells,Ding\nGone.wav,a,b,c,d,e\n",
        encoding="utf-8-sig",
    )
    metadata = table(
        tmp_path,
        "file_name,keywords,sound_id,manufacturer,license\n"
        '"Rain, on a roof.wav",rain;roof;;water,1,Jürgen,https://example.org/by\n',
        "metadata.csv",
        encoding="latin-1",
    )
    manifest = clotho_manifest(tmp_path / "audio", captions, metadata, split="development")
    rain, bell = manifest.clips
    assert (rain.name, rain.split, rain.start_s, rain.duration_s) == ("Rain, on a roof.wav", "development", 0.0, None)
    assert rain.captions == ("it rains", "rain and wind", "drops fall", "it pours")
    assert (rain.labels, rain.author, rain.license) == (("rain", "roof", "water"), "Jürgen", "https://example.org/by")
    assert (bell.path, bell.labels, len(bell.captions)) == (tmp_path / "audio" / "Bell.flac", (), 5)
    assert manifest.broken == (BrokenClip("Gone.wav", "there is no such sound file"),)


def test_metadata_of_another_part_is_refused(tmp_path: Path) -> None:
    sound(tmp_path / "a.wav")
    captions = table(tmp_path, CLOTHO_HEADER + "a.wav,a,b,c,d,e\n")
    metadata = table(tmp_path, "file_name,keywords,manufacturer,license\nb.wav,x,y,z\n", "metadata.csv")
    with pytest.raises(DataError, match="describes no file"):
        clotho_manifest(tmp_path, captions, metadata)


@pytest.mark.parametrize(
    ("file", "seconds", "start_s"),
    [
        ("abc-_123456_30.wav", 10.0, 0.0),
        ("abc-_123456_30_40.wav", 10.0, 0.0),
        ("Yabc-_123456_30.000_40.000.wav", 10.0, 0.0),
        ("abc-_123456_30000_40000.FLAC", 10.0, 0.0),
        ("abc-_123456_30.wav", 12.0, 0.0),
        ("abc-_123456.wav", 10.1, 0.0),
        ("abc-_123456.WAV", 55.0, 30.0),
        ("Yabc-_123456.wav", 55.0, 30.0),
        ("Yabc-_123456.flac", 7.0, 0.0),
        ("901.wav", 10.0, 0.0),
    ],
)
def test_audiocaps_finds_files_under_their_usual_names(
    tmp_path: Path, file: str, seconds: float, start_s: float
) -> None:
    sound(tmp_path / file, seconds)
    (clip,) = audiocaps(tmp_path, "901,abc-_123456,30,A dog barks\n").clips
    assert (clip.path.name, clip.start_s, clip.duration_s) == (file, start_s, 10.0)
    assert (clip.name, clip.recording, clip.split) == ("abc-_123456_30", "abc-_123456", "test")


def test_audiocaps_ids_differ_by_case(tmp_path: Path) -> None:
    sound(tmp_path / "ABC.wav", 10)
    sound(tmp_path / "abd.wav", 10)
    manifest = audiocaps(tmp_path, "1,abc,0,One\n2,abd,0,Two\n")
    assert [clip.name for clip in manifest.clips] == ["abd_0"]
    assert manifest.broken == (BrokenClip("abc_0", "there is no such sound file"),)


def test_audiocaps_merges_the_captions_of_a_clip(tmp_path: Path) -> None:
    sound(tmp_path / "vid.wav", 60)
    manifest = audiocaps(tmp_path, "1,vid,30,A dog\n2,vid,5,Rain\n3,vid,30.0,Dogs bark\n4,vid,30,a dog.\n")
    assert [(clip.name, clip.start_s, clip.captions) for clip in manifest.clips] == [
        ("vid_30", 30.0, ("a dog", "dogs bark")),
        ("vid_5", 5.0, ("rain",)),
    ]


def test_audiocaps_lists_unusable_clips(tmp_path: Path) -> None:
    sound(tmp_path / "two.wav", 10)
    sound(tmp_path / "short.wav", 20)
    (tmp_path / "text.wav").write_text("not a sound")
    sound(tmp_path / "fine.wav", 10)
    rows = (
        "1,two,0,a\n2,two,30,b\n3,short,40,c\n4,text,0,d\n5,fine,0,e\n6,,0,f\n7,nan,nan,g\n8,../fine,0,h\n9,gone,1,i\n"
    )
    manifest = audiocaps(tmp_path, rows)
    assert [clip.name for clip in manifest.clips] == ["fine_0"]
    reasons = {clip.name: clip.reason for clip in manifest.broken}
    assert "which it is is not known" in reasons["two_0"] and reasons["two_0"] == reasons["two_30"]
    assert "neither 10 s nor a recording that reaches 40 s" in reasons["short_40"]
    assert "no sound file" in reasons["text_0"]
    assert "line 7" in reasons["line 7"] and "start_time" in reasons["nan"]
    assert "leads out" in reasons["../fine_0"]
    assert len(manifest.broken) == 8


def test_folder_with_every_column(tmp_path: Path) -> None:
    path = sound(tmp_path / "in" / "sub" / "yard.wav", 9)
    captions = table(
        tmp_path,
        "file,caption_1,caption_2,start_s,duration_s,split,labels,recording,license,author\n"
        "sub/yard.wav,A dog,,1.5,3,train,dog; yard ;dog,take 7,CC0,Ann\n"
        "sub/yard.wav,Dogs bark,A dog!,1.5,3.0,train,animal,,,\n"
        "sub/yard.wav,Rain,,,,train,,,,\n",
    )
    part, whole = folder_manifest(captions, tmp_path / "in").clips
    assert (part.name, part.path, part.start_s, part.duration_s) == ("sub/yard.wav@1.5+3", path, 1.5, 3.0)
    assert (part.captions, part.labels) == (("a dog", "dogs bark"), ("dog", "yard", "animal"))
    assert (part.split, part.recording, part.license, part.author) == ("train", "take 7", "CC0", "Ann")
    assert (whole.name, whole.duration_s, whole.recording) == ("sub/yard.wav", None, "sub/yard.wav")


def test_folder_prefers_the_file_that_is_named(tmp_path: Path) -> None:
    for name in ("a.wav", "a.WAV", "a.flac", "b.Mp3.wav"):
        sound(tmp_path / name)
    captions = table(tmp_path, "file,caption\na.WAV,one\na.flac,two\na.ogg,three\na,four\nb.Mp3,five\n")
    manifest = folder_manifest(captions, tmp_path)
    assert {clip.path.name: clip.captions for clip in manifest.clips} == {
        "a.WAV": ("one",),
        "a.flac": ("two",),
        "a.wav": ("three", "four"),
    }
    assert [clip.name for clip in manifest.broken] == ["b.Mp3"]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("../out.wav,a dog,,", "leads out"),
        ("/etc/out.wav,a dog,,", "leads out"),
        ("sub/../../out.wav,a dog,,", "leads out"),
        ("gone.wav,a dog,,", "no such sound file"),
        ("notes.txt,a dog,,", "no such sound file"),
        (",a dog,,", "no such sound file"),
        ("ok.wav, ?! ,,", "no caption"),
        ("ok.wav,a dog,-1,", "start_s"),
        ("ok.wav,a dog,soon,", "start_s"),
        ("ok.wav,a dog,,0", "start_s or duration_s"),
        ("ok.wav,a dog,,inf", "start_s or duration_s"),
        ("ok.wav,a dog, a cat,,", "double quotes"),
        ("ok.wav,a dog", "double quotes"),
    ],
)
def test_a_bad_row_is_listed_and_the_others_stay(tmp_path: Path, row: str, words: str) -> None:
    sound(tmp_path / "in" / "ok.wav")
    sound(tmp_path / "out.wav")
    (tmp_path / "in" / "notes.txt").write_text("no sound")
    captions = table(tmp_path, f"file,caption,start_s,duration_s\n{row}\n\nok.wav,It rains,,\n")
    manifest = folder_manifest(captions, tmp_path / "in")
    assert [clip.captions for clip in manifest.clips] == [("it rains",)]
    assert len(manifest.broken) == 1 and words in manifest.broken[0].reason


def test_a_clip_in_two_splits_is_refused(tmp_path: Path) -> None:
    sound(tmp_path / "a.wav")
    captions = table(tmp_path, "file,caption,split\na.wav,one,train\na.flac,two,test\n")
    with pytest.raises(DataError, match="stands in the split 'train' and, at line 3, in 'test'"):
        folder_manifest(captions, tmp_path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no column 'file'"),
        (b"path,caption\na.wav,x\n", "no column 'file'"),
        (b"file,text\na.wav,x\n", "no column 'caption'"),
        (b"file,caption\ngone.wav,x\n", "none of its 1 clips can be used .gone.wav"),
        (b"file,caption\n", "none of its 0 clips"),
        (b"file,caption\na.wav,caf\xe9\n", "UTF-8"),
        (b'file,caption\na.wav,"' + b"x" * 200_000 + b'"\n', r"line 2: has a cell of 200000 characters"),
    ],
)
def test_a_table_of_no_use_is_one_sentence(tmp_path: Path, content: bytes, words: str) -> None:
    sound(tmp_path / "a.wav")
    (tmp_path / "captions.csv").write_bytes(content)
    with pytest.raises(DataError, match=words):
        folder_manifest(tmp_path / "captions.csv", tmp_path)


def test_a_missing_table_or_folder_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputMissingError, match="no table"):
        folder_manifest(tmp_path / "captions.csv", tmp_path)
    captions = table(tmp_path, AUDIOCAPS_HEADER + "1,a,0,x\n")
    with pytest.raises(InputMissingError, match="no folder"):
        audiocaps_manifest(captions, tmp_path / "audio")
