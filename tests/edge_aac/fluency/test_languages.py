"""Languages: found by code, also those of a package outside."""

from __future__ import annotations

import importlib
import logging
from pathlib import Path

import pytest

from edge_aac.bundle.manifest import Seq2SeqManifest
from edge_aac.bundle.store import DEFAULT_BUNDLE, open_bundle
from edge_aac.errors import ConfigError
from edge_aac.fluency.english.sentences import fluency_errors
from edge_aac.fluency.languages import fluency_check
from edge_aac.models.choices import Choices


@pytest.mark.parametrize("language", ["en", "EN", "en-GB", "en-x-captions"])
def test_english_is_checked_as_english(language: str) -> None:
    assert fluency_check(language) is fluency_errors


@pytest.mark.parametrize("language", ["fr", "", "enx", "pt-BR"])
def test_a_language_that_nobody_checks(language: str) -> None:
    assert fluency_check(language) is None


def test_a_language_from_a_package_outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "german-1.0.dist-info"
    info.mkdir()
    (tmp_path / "outside_german.py").write_text("def check(text):\n    return ()\n")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: german\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[edge_aac.languages]\nde = outside_german:check\nnl = outside_german:nothing\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    check = fluency_check("de-AT")
    assert check is not None and check("ein hund bellt") == ()
    with pytest.raises(ConfigError, match="'nl' is registered as outside_german:nothing, which cannot be loaded"):
        fluency_check("nl")


def test_a_bundle_in_another_language_has_no_check_and_says_so_where_one_was_wanted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    english = open_bundle(DEFAULT_BUNDLE).manifest_of(Seq2SeqManifest)
    french = english.model_copy(update={"language": "fr"})
    with caplog.at_level(logging.WARNING):
        assert Choices().check_of(english) is fluency_errors
        assert Choices(fluency_check=False).check_of(english) is None
        assert Choices().check_of(french) is None
        assert not caplog.records
        assert Choices(fluency_check=True).check_of(french) is None
    (record,) = caplog.records
    assert "'fr'" in record.getMessage()
