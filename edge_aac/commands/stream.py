"""Caption a microphone, file or pipe until it ends or you stop it.

Prints a caption when something new is heard: overlapping windows that say the same thing are one event.
Stops with Ctrl-C or SIGTERM within a second.
"""

from __future__ import annotations

import logging
import signal
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from edge_aac.commands import options
from edge_aac.commands.setting_options import STREAM_SECTIONS, GivenSettings, settings_options
from edge_aac.errors import ConfigError

if TYPE_CHECKING:
    from edge_aac.settings.tree import Settings

app = typer.Typer(add_completion=False, rich_markup_mode=None)

EXAMPLES = """Examples:

  edge-aac stream --device mic0

  edge-aac stream --device file:garden.flac --format json

  arecord -q -f S16_LE -r 16000 -t raw | edge-aac stream --device stdin:

  edge-aac stream --device demo:
"""


@app.command(epilog=EXAMPLES)
@settings_options(*STREAM_SECTIONS, others=True)
def stream(
    given: GivenSettings,
    every_window: Annotated[
        bool, typer.Option("--every-window", help="Print a caption for every window, not for every event.")
    ] = False,
    events: Annotated[bool, typer.Option("--events", help="Print event records (start, update, end) as well.")] = False,
    output_format: options.FormatOption = options.Format.AUTO,
) -> None:
    """Caption a microphone, file or pipe until it ends or you stop it."""
    stop = threading.Event()
    # First of all: a stop during the imports below must end the stream as politely as a later one.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    options.log_to_stderr()
    _listen(given.load(), Output(output_format.value, events, every_window), stop)


@dataclass(frozen=True)
class Output:
    """What is printed, and how.

    Attributes:
        output_format: "auto", "json" or "text".
        events: event records too.
        every_window: a caption for every window, not for every event.
    """

    output_format: Literal["auto", "json", "text"]
    events: bool
    every_window: bool


def _listen(settings: Settings, output: Output, stop: threading.Event) -> None:
    """Listens until the source ends or ``stop`` is set.

    Raises:
        ConfigError: there is no source that is enabled, or more than the one that can be heard, or a sink.
    """
    from edge_aac.audio.sources.address import open_source
    from edge_aac.audio.windows import WINDOW_SAMPLES, WindowSlicer
    from edge_aac.models.settings import CaptionerSettings
    from edge_aac.sinks.sink import QueuedSink
    from edge_aac.sinks.stdout import open_stdout
    from edge_aac.streaming.describe import Describer
    from edge_aac.streaming.events import EventTracker
    from edge_aac.streaming.gate import EnergyGate, ScoreGate
    from edge_aac.streaming.loop import StreamLoop
    from edge_aac.streaming.settings import SinkSettings, SourceSettings, StreamSettings, channels
    from edge_aac.timebase import SAMPLE_RATE

    log = logging.getLogger(__name__)
    chosen, listening = settings.get(CaptionerSettings), settings.get(StreamSettings)
    channel, *others = channels(listening, settings.tables(SourceSettings)) or [None]
    if channel is None:
        raise ConfigError("no source is enabled: enable one of the [[sources]]")
    if others or settings.chosen(SinkSettings):
        raise ConfigError("one source and standard output are all that this version streams: leave the others out")
    slicer = WindowSlicer(WINDOW_SAMPLES, round(channel.hop_s * SAMPLE_RATE))
    captioner = options.open_captioner(chosen)
    source = open_source(channel.address)
    log.info("listening to %s with bundle %s", source.name, captioner.bundle.manifest.name)
    similarity, of_bundle = listening.same_similarity, captioner.bundle.manifest.same_similarity
    loop = StreamLoop(
        source=source,
        captioner=captioner,
        slicer=slicer,
        gate=EnergyGate(channel.silence_dbfs),
        score_gate=ScoreGate(listening.least_score, listening.familiar_only),
        tracker=EventTracker(of_bundle if similarity is None else similarity),
        sink=QueuedSink(open_stdout(output.output_format, output.events), wait=not source.live, stop=stop),
        describer=Describer.of(captioner, listening.node, channel.name or source.name),
        seed=chosen.seed,
        every_window=output.every_window,
    )
    try:
        loop.run(stop)
    finally:
        log.info("%s", loop.counters.sentence())
