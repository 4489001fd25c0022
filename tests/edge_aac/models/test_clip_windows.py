"""A dual encoder that hears clips of its own describes the windows of a stream, and a stream's events begin and end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_aac.audio.windows import WINDOW_SAMPLES, Window, file_windows
from edge_aac.bundle.store import open_bundle
from edge_aac.engines.contract import EngineOptions
from edge_aac.errors import ConfigError, DataError
from edge_aac.models.clip_encoder import ClipEncoder
from edge_aac.models.clip_windows import ClipWindows
from edge_aac.models.contract import CancelledError, Description, Undecoded, hears_sound
from edge_aac.models.opening import open_named
from tests.edge_aac.models.clip_bundles import SAMPLES, write_clip_bundle
from tests.system.command import noise, records, run_edge_aac, write_wav

ONE_THREAD = EngineOptions(threads=1)
LABELS = ("rain", "a dog", "dog rain")
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_clip_bundle(tmp_path_factory.mktemp("bundles") / "tiny-clap")


def _opened(folder: str, **choices: object) -> ClipWindows:
    model = open_named(folder, None, ONE_THREAD, {"labels": LABELS, "candidates": None, **choices})
    assert isinstance(model, ClipWindows) and hears_sound(model)
    return model


def _window(seed: int, samples: int = WINDOW_SAMPLES) -> Window:
    sound = np.random.default_rng(seed).normal(0.0, 0.1, samples).astype(np.float32)
    (window,) = file_windows([sound], WINDOW_SAMPLES, keeps_sound=True)
    return window


def test_labels_are_ranked_by_the_newest_clip(folder: str) -> None:
    model = _opened(folder)
    window = _window(0)
    (found,) = model.describe([window], [RNG])
    assert isinstance(found, Description)
    assert window.waveform is not None
    # 16 kHz to 8 kHz: the newest second of the window is the same sound as that second by itself, but for its edge.
    (tail,) = file_windows([window.waveform[-3 * 16_000 :]], WINDOW_SAMPLES, keeps_sound=True)
    (newest,) = model.describe([tail], [RNG])
    assert isinstance(newest, Description)
    np.testing.assert_allclose(found.audio_embedding, newest.audio_embedding, atol=1e-4)
    encoder = ClipEncoder(open_bundle(folder), ONE_THREAD)
    texts = encoder.embed([f"the sound of {label}" for label in LABELS])
    cosines = dict(zip((f"the sound of {label}" for label in LABELS), texts @ found.audio_embedding, strict=True))
    assert {caption.text: caption.hybrid for caption in found.ranked} == pytest.approx(cosines, abs=1e-6)
    assert [caption.hybrid for caption in found.ranked] == sorted(cosines.values(), reverse=True)
    assert found.best.log_likelihood is None and found.candidates == 3


def test_shorter_sound_fills_a_clip_as_files_do(folder: str, tmp_path: Path) -> None:
    model = _opened(folder)
    window = _window(1, samples=SAMPLES // 2)
    (found,) = model.describe([window], [RNG])
    assert isinstance(found, Description) and window.waveform is not None
    file = write_wav(tmp_path / "short.wav", window.waveform)
    (part,) = ClipEncoder(open_bundle(folder), ONE_THREAD).hear(file)
    assert found.audio_embedding @ part.embedding > 0.9999  # a file's samples have 16 bits
    assert (part.start_s, part.end_s) == (0.0, SAMPLES / 2 / 16_000)


def test_what_is_not_wanted_is_not_ranked_and_each_window_stands_alone(folder: str) -> None:
    model = _opened(folder)
    windows = [_window(seed) for seed in (0, 1)]
    both = model.describe(windows, [RNG, RNG])
    (alone,) = model.describe(windows[1:], [RNG])
    assert isinstance(alone, Description) and isinstance(both[1], Description)
    assert [one.hybrid for one in both[1].ranked] == [one.hybrid for one in alone.ranked]
    seen: list[int] = []

    def wanted(number: int, embedding: object) -> bool:
        seen.append(number)
        return number == 1

    first, second = model.describe_wanted(windows, [RNG, RNG], wanted)
    assert isinstance(first, Undecoded) and isinstance(second, Description) and seen == [0, 1]
    with pytest.raises(CancelledError):
        model.describe(windows, [RNG, RNG], lambda: True)


def test_windows_that_cannot_be_heard(folder: str) -> None:
    model = _opened(folder)
    bare = Window(0, WINDOW_SAMPLES, np.zeros((998, 128), np.float32), -20.0, -3.0, -20.0)
    (found,) = model.describe([bare], [RNG])
    assert isinstance(found, DataError) and "without its sound" in str(found)
    window = _window(0)
    assert window.waveform is not None
    window.waveform[5] = np.nan
    (found,) = model.describe([window], [RNG])
    assert isinstance(found, DataError) and "no number" in str(found)


def test_labels_are_needed_and_choices_checked(folder: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="names no sounds of its own"):
        _opened(folder, labels=None)
    with pytest.raises(ConfigError, match="candidates means nothing"):
        _opened(folder, candidates=3)
    with pytest.raises(ConfigError, match="holds {} once"):
        _opened(folder, prompt="a sound")
    own = write_clip_bundle(tmp_path / "own", labels=["rain"])
    (found,) = _opened(own, labels=None, prompt="{}").describe([_window(0)], [RNG])
    assert isinstance(found, Description) and found.best.text == "rain"


def test_a_stream_s_events_and_alerts_go_by_labels(folder: str, tmp_path: Path) -> None:
    sound = write_wav(tmp_path / "noise.wav", noise(16.0))
    config = tmp_path / "config.toml"
    rule = '[[alerts]]\nname = "any"\nsounds = ["sound"]\n[[sinks]]\nkind = "stdout"\nformat = "json"\n'
    config.write_text(f'{rule}records = ["caption", "event", "alert"]\n', encoding="utf-8")
    labels = ("--label", "rain", "--label", "a dog")
    done = run_edge_aac("stream", "--config", config, "--device", f"file:{sound}", "--bundle", folder, *labels)
    assert done.returncode == 0, done.stderr
    found = records(done.stdout)
    captions = {one["caption"] for one in found if one["schema"] == "edge-aac/caption/1"}
    assert captions and captions <= {"the sound of rain", "the sound of a dog"}
    states = [one["state"] for one in found if one["schema"] == "edge-aac/event/1"]
    assert states.count("start") == states.count("end") > 0
    assert [one["state"] for one in found if one["schema"] == "edge-aac/alert/1"] == ["start", "end"]
