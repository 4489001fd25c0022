"""``edge-aac ask`` without a bundle: the one that comes with the package answers about everyday sounds."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_aac.bundle.store import ASKED_BUNDLE, DEFAULT_BUNDLE, built_in_bundles, check_all, open_bundle
from edge_aac.models.prompted_manifest import PromptedManifest
from tests.system.command import noise, records, run_edge_aac, write_wav

RECORDINGS = Path("edge_aac/audio/sources/demo/recordings")
NOBODY = {"XDG_CONFIG_HOME": "/nonexistent"}


@pytest.mark.parametrize("name", built_in_bundles())
def test_every_file_of_a_built_in_bundle_is_the_one_that_its_manifest_means(name: str) -> None:
    check_all(open_bundle(name))


@pytest.mark.parametrize(
    ("recording", "words", "answer"),
    [
        ("drums", ("is there music playing?",), "yes"),
        ("drums", ("is there a dog barking?",), "no"),
        ("guitar", ("is a guitar playing?",), "yes"),
        ("guitar", ("a dog barking, a guitar playing, rain falling", "--task", "which"), "a guitar playing"),
        ("birds", ("can you hear a chainsaw running?",), "no"),
    ],
)
def test_a_question_about_a_recording(recording: str, words: tuple[str, ...], answer: str) -> None:
    done = run_edge_aac("ask", RECORDINGS / f"{recording}.flac", *words, env=NOBODY)
    assert done.returncode == 0, done.stderr
    (record,) = records(done.stdout)
    assert (record["answer"], record["model"]["bundle"]) == (answer, ASKED_BUNDLE)


def test_every_task_of_it_answers(tmp_path: Path) -> None:
    sound = write_wav(tmp_path / "noise.wav", noise(1))
    prompts = open_bundle(ASKED_BUNDLE).manifest_of(PromptedManifest).prompts
    assert set(prompts) == {"caption", "events", "count", "presence", "which", "question"}
    for task, prompt in prompts.items():
        words = ["a dog barking"] if "{}" in prompt else []
        done = run_edge_aac("ask", sound, *words, "--task", task, env=NOBODY)
        assert done.returncode == 0, done.stderr
        (record,) = records(done.stdout)
        assert record["answer"] and record["task"] == task


def test_a_task_that_it_does_not_have_is_one_sentence(tmp_path: Path) -> None:
    done = run_edge_aac("ask", write_wav(tmp_path / "noise.wav", noise(1)), "--task", "emotion", env=NOBODY)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and f"{ASKED_BUNDLE} has no task 'emotion'" in done.stderr


def test_where_the_settings_name_a_captioner_the_bundle_beside_it_is_asked(tmp_path: Path) -> None:
    config = tmp_path / "edge-aac" / "config.toml"
    config.parent.mkdir()
    # Longest captions that the bundle that is asked could not write.
    config.write_text(f'[captioner]\nbundle = "{DEFAULT_BUNDLE}"\nmax_length = 60\n', encoding="utf-8")
    sound = write_wav(tmp_path / "noise.wav", noise(1))
    env = {"XDG_CONFIG_HOME": str(tmp_path)}
    done = run_edge_aac("ask", sound, "is there a dog barking?", env=env)
    assert done.returncode == 0, done.stderr
    assert records(done.stdout)[0]["model"]["bundle"] == ASKED_BUNDLE
    refused = run_edge_aac("ask", sound, "--bundle", DEFAULT_BUNDLE, env=env)
    assert (refused.returncode, refused.stdout) == (65, ""), "what a flag names is asked, or nothing"
    assert refused.stderr.endswith(f"'prompted' is needed: give another bundle, such as {ASKED_BUNDLE}\n")
    too_long = run_edge_aac("ask", sound, "--max-length", "80", env=env)
    assert too_long.returncode == 78, "a flag is meant"
    config.write_text(f'[captioner]\nask_bundle = "{DEFAULT_BUNDLE}"\nbundle = "{DEFAULT_BUNDLE}"\n', encoding="utf-8")
    wrong = run_edge_aac("ask", sound, env=env)
    assert wrong.returncode == 65 and wrong.stderr.startswith("edge-aac: ask_bundle: ")
