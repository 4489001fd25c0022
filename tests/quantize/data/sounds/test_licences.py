"""What copyright files say of single files, and what of it a published model may learn from."""

from __future__ import annotations

import pytest

from quantize.data.sounds.licences import CopyrightFile, Licence, Verdict, judged


@pytest.mark.parametrize(
    "name",
    [
        *("CC0-1.0", "CC0", "CC-BY-3.0", "CC-BY-4.0", "cc-by", "CC BY 4.0", "Creative Commons 0", "public-domain"),
        *("Expat", "MIT", "BSD-2-clause", "BSD-like", "Apache-2.0", "zlib", "ISC", "WTFPL", "0BSD"),
        *("GPL-2+ or CC-BY-3.0", "CC-BY-SA-3.0 or MIT", "CC-BY-3.0 and CC0-1.0", "zlib or GPL-2 or CC-BY-3.0"),
    ],
)
def test_permissive_licences(name: str) -> None:
    assert judged(name) is Verdict.PERMISSIVE


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        *[
            (name, Verdict.SHARE_ALIKE)
            for name in (
                *("GPL-2+", "LGPL-2.1", "AGPL-3", "GFDL-1.3", "CC-BY-SA-3.0", "CC-BY-SA", "MPL-2.0", "Artlibre"),
                *("Free-Art-License-1.2", "CC-BY-3.0 and CC-BY-SA-3.0", "GPL-2+ or CC-BY-SA-3.0", "GPL-2+, MIT"),
                *("LGPL-2.1 or MPL", "CC-Sampling-Plus-1.0", "Attribution-ShareAlike 3.0"),
            )
        ],
        *[
            (name, Verdict.NON_COMMERCIAL)
            for name in ("CC-BY-NC-3.0", "CC-BY-NC-SA-4.0", "CC-BY-ND-3.0", "MIT and CC-BY-NC")
        ],
        *[
            (name, Verdict.UNKNOWN)
            for name in ("", "other", "Battle-Tanks-License", "MIT and other", "freedoom-license")
        ],
    ],
)
def test_what_is_left_out(name: str, verdict: Verdict) -> None:
    assert judged(name) is verdict


GAME = """\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/

Files: *
Copyright: 2001 A. Author
License: GPL-2+

Files: data/sounds/*
 data/jingles/*.ogg
Copyright: 2002 B. Composer
  2003 C. Recordist
License: CC-BY-3.0
 The text of the licence.
 .
 Files: of the text are no field

Files: data/sounds/loud.wav data/sounds/voice-??.wav
Copyright: D. Speaker
License: CC-BY-NC-3.0

Files: debian/*
Copyright: E. Packager
License: MIT
"""


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("usr/share/games/game/sounds/soft.wav", "CC-BY-3.0"),
        ("usr/share/games/game/sounds/deeper/soft.wav", "CC-BY-3.0"),
        ("usr/share/games/game/sounds/loud.wav", "CC-BY-NC-3.0"),
        ("usr/share/games/game/sounds/voice-01.wav", "CC-BY-NC-3.0"),
        ("usr/share/games/game/jingles/won.ogg", "CC-BY-3.0"),
        ("usr/share/games/game/jingles/won.wav", "GPL-2+"),
        ("usr/share/games/game/music/tune.ogg", "GPL-2+"),
    ],
)
def test_the_paragraph_that_names_a_file_most_closely_counts(path: str, name: str) -> None:
    assert CopyrightFile(GAME).licence(path).name == name


def test_authors_come_with_the_licence() -> None:
    assert CopyrightFile(GAME).licence("usr/share/game/sounds/a.wav").author == "2002 B. Composer 2003 C. Recordist"


def test_in_doubt_all_paragraphs_that_may_be_meant_bind() -> None:
    lost = "Files: *\nLicense: MIT\n\nFiles: sounddata/*\nLicense: GPL-2+\n"
    licence = CopyrightFile(lost).licence("usr/share/game/a.wav")
    assert (licence.name, licence.verdict) == ("MIT and GPL-2+", Verdict.SHARE_ALIKE)
    same = "Files: one/a.wav\nLicense: MIT\n\nFiles: two/a.wav\nLicense: GPL-2+\n"
    assert CopyrightFile(same).licence("usr/share/game/a.wav").verdict is Verdict.SHARE_ALIKE
    assert CopyrightFile(same).licence("usr/share/one/a.wav").verdict is Verdict.PERMISSIVE
    code = "Files: *\nLicense: MIT\n\nFiles: src/*\nLicense: GPL-2+\n"
    assert CopyrightFile(code).licence("usr/share/game/a.wav").verdict is Verdict.PERMISSIVE


def test_free_form_says_nothing_unless_a_person_has_read_it() -> None:
    notice = "This game may be copied by everybody.\nLicense: do what you like\n"
    assert CopyrightFile(notice).licence("usr/a.wav").verdict is Verdict.UNKNOWN
    assert not CopyrightFile(notice).readable
    assert CopyrightFile(notice, Licence("zlib", "A. Author")).licence("usr/a.wav") == Licence("zlib", "A. Author")


def test_a_later_paragraph_that_forbids_more_binds_though_it_names_the_file_less_closely() -> None:
    text = "Files: *.ogg\nLicense: CC-BY-3.0\n\nFiles: sounds/*\nLicense: CC-BY-SA-3.0\n"
    assert CopyrightFile(text).licence("usr/share/game/sounds/a.ogg").verdict is Verdict.SHARE_ALIKE
    assert CopyrightFile(text).licence("usr/share/game/music/a.ogg").verdict is Verdict.PERMISSIVE


def test_a_file_of_the_same_name_in_another_folder_is_not_the_one_that_is_named() -> None:
    text = "Files: *\nLicense: GPL-2+\n\nFiles: sounds/bells/a.wav\nLicense: MIT\n"
    assert CopyrightFile(text).licence("usr/share/game/drums/a.wav").verdict is Verdict.SHARE_ALIKE
    assert CopyrightFile(text).licence("usr/share/game/bells/a.wav").verdict is Verdict.PERMISSIVE
