"""From settings to answers: what `edge-aac ask` opens and runs."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Literal

from edge_aac.bundle.store import ASKED_BUNDLE, open_bundle
from edge_aac.engines.contract import EngineOptions
from edge_aac.models.opening import open_ask_bundle, takes_choice
from edge_aac.models.prompted import Prompted
from edge_aac.models.prompted_manifest import PromptedManifest
from edge_aac.models.settings import CaptionerSettings
from edge_aac.records import as_text
from edge_aac.service.opening import privacy_gate
from edge_aac.settings.tree import Settings
from edge_aac.sinks.stdout import StdoutSink
from edge_aac.streaming.asking import FileAsker
from edge_aac.streaming.settings import StreamSettings


def ask_file(  # noqa: PLR0913, PLR0917 - what a user gives
    path: Path,
    words: str | None,
    task: str | None,
    beams: int | None,
    settings: Settings,
    flags: Collection[str],
    output_format: Literal["auto", "json", "text"],
) -> None:
    """Ask about a whole file on standard output.

    A bundle that a flag names is asked, whatever it is. Settings name the bundle of captions: where that takes no
    questions, their ``ask_bundle`` is asked, as beside a stream, and by its own rules.

    Args:
        path: the file.
        words, task: what is asked; see :meth:`edge_aac.models.prompted_manifest.PromptedManifest.prompt_of`.
        beams: width of the search; None for the bundle's.
        settings: what is configured.
        flags: names of the captioner's settings that flags gave.
        output_format: "auto" is text on a terminal, JSON Lines elsewhere.

    Raises:
        UsageError: the prompt cannot be asked.
        EdgeAacError: the bundle cannot be opened, the file cannot be read or asked about, or standard output cannot be
            written.
    """
    chosen = settings.get(CaptionerSettings)
    itself = "bundle" in flags or takes_choice(chosen.bundle, "ask")
    bundle = open_bundle(chosen.bundle) if itself else open_ask_bundle(chosen.ask_bundle)
    # Before the graphs are loaded, which takes time.
    prompt, named = bundle.manifest_of(PromptedManifest, ASKED_BUNDLE).prompt_of(
        None if words is None else as_text(words), task
    )
    choices = {"prompt": chosen.prompt, "max_length": chosen.max_length, "beams": beams}
    meant = {"beams", *flags} | ({"prompt", "max_length"} if itself else set())
    given = {name: choice for name, choice in choices.items() if choice is not None and name in meant}
    model = Prompted(bundle, EngineOptions(chosen.backend, chosen.threads, chosen.cuda_graph), given)
    sink = StdoutSink(output_format)
    asker = FileAsker(model, prompt, named, settings.get(StreamSettings).node, privacy_gate(settings), sink.publish)
    asker.ask(path)
    sink.close()
