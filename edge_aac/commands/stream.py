"""Caption a microphone, file or pipe until it ends or you stop it.

Prints a caption when something new is heard: overlapping windows that say the same thing are one event.
Stops with Ctrl-C or SIGTERM within a second.
"""

from __future__ import annotations

import logging
import signal
import threading
from typing import Annotated

import typer

from edge_aac.commands import options

app = typer.Typer(add_completion=False, rich_markup_mode=None)

EXAMPLES = """Examples:

  edge-aac stream --device mic0

  edge-aac stream --device file:garden.flac --format json

  arecord -q -f S16_LE -r 16000 -t raw | edge-aac stream --device stdin:

  edge-aac stream --device demo:
"""


@app.command(epilog=EXAMPLES)
def stream(
    device: Annotated[
        str | None,
        typer.Option(
            envvar="EDGE_AAC_DEVICE",
            help="mic0, mic1 …, alsa:hw:1,0, file:PATH, stdin:[?rate=44100&channels=2] or demo:. Default: mic0.",
        ),
    ] = None,
    hop: Annotated[
        float | None,
        typer.Option(envvar="EDGE_AAC_HOP", help="Seconds from one 10 s window to the next. Default: 2."),
    ] = None,
    bundle: options.BundleOption = None,
    candidates: options.CandidatesOption = None,
    method: options.MethodOption = None,
    max_length: options.MaxLengthOption = None,
    likelihood_weight: options.LikelihoodWeightOption = None,
    similarity_weight: options.SimilarityWeightOption = None,
    fluency_check: options.FluencyOption = None,
    least_familiarity: options.LeastFamiliarityOption = None,
    seed: options.SeedOption = None,
    threads: options.ThreadsOption = None,
    backend: options.BackendOption = None,
    silence_dbfs: options.SilenceOption = None,
    least_score: options.LeastScoreOption = None,
    familiar_only: options.FamiliarOnlyOption = None,
    same_similarity: Annotated[
        float | None,
        typer.Option(
            envvar="EDGE_AAC_SAME_SIMILARITY",
            help="Captions at least this alike (cosine) are one event. Default: the bundle's own.",
        ),
    ] = None,
    node: options.NodeOption = None,
    every_window: Annotated[
        bool, typer.Option("--every-window", help="Print a caption for every window, not for every event.")
    ] = False,
    events: Annotated[bool, typer.Option("--events", help="Print event records (start, update, end) as well.")] = False,
    output_format: options.FormatOption = options.Format.AUTO,
    config: options.ConfigOption = None,
) -> None:
    """Caption a microphone, file or pipe until it ends or you stop it."""
    stop = threading.Event()
    # First of all: a stop during the imports below must end the stream as politely as a later one.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    options.log_to_stderr()
    given: dict[str, dict[str, object]] = {
        "captioner": options.captioner_section(locals()),
        "stream": {
            "device": device,
            "hop_s": hop,
            "silence_dbfs": silence_dbfs,
            "least_score": least_score,
            "familiar_only": familiar_only,
            "same_similarity": same_similarity,
            "node": node,
        },
    }
    from edge_aac.config import load_settings

    settings = load_settings(config, given)

    from edge_aac.audio.sources.address import open_source
    from edge_aac.audio.windows import WINDOW_SAMPLES, WindowSlicer
    from edge_aac.sinks.sink import QueuedSink
    from edge_aac.sinks.stdout import open_stdout
    from edge_aac.streaming.describe import Describer
    from edge_aac.streaming.events import EventTracker
    from edge_aac.streaming.gate import EnergyGate, ScoreGate
    from edge_aac.streaming.loop import StreamLoop
    from edge_aac.timebase import SAMPLE_RATE

    log = logging.getLogger(__name__)
    chosen, listening = settings.captioner, settings.stream
    slicer = WindowSlicer(WINDOW_SAMPLES, round(listening.hop_s * SAMPLE_RATE))
    captioner = options.open_captioner(chosen)
    source = open_source(listening.device)
    log.info("listening to %s with bundle %s", source.name, captioner.bundle.manifest.name)
    asked, of_bundle = listening.same_similarity, captioner.bundle.manifest.same_similarity
    loop = StreamLoop(
        source=source,
        captioner=captioner,
        slicer=slicer,
        gate=EnergyGate(listening.silence_dbfs),
        score_gate=ScoreGate(listening.least_score, listening.familiar_only),
        tracker=EventTracker(of_bundle if asked is None else asked, captioner.embed),
        sink=QueuedSink(open_stdout(output_format.value, events), wait=not source.live, stop=stop),
        describer=Describer.of(captioner, listening.node, source.name),
        seed=chosen.seed,
        every_window=every_window,
    )
    try:
        loop.run(stop)
    finally:
        log.info("%s", loop.counters.sentence())
