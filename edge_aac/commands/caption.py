"""Caption sound files: one record for each 10 s window.

A file shorter than 10 s is padded with silence, a longer one is cut into windows. A bad file among good ones is
reported on stderr and does not stop the others; the exit code at the end tells.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_aac.commands import options
from edge_aac.commands.setting_options import GivenSettings, settings_options
from edge_aac.errors import DataError, InputMissingError

if TYPE_CHECKING:
    from edge_aac.settings.tree import Settings

app = typer.Typer(add_completion=False, rich_markup_mode=None)

EXAMPLES = """Examples:

  edge-aac caption dog.wav

  edge-aac caption --format json *.flac | jq -r .caption

  edge-aac caption --hop 2 an-hour.ogg
"""


@app.command(epilog=EXAMPLES)
@settings_options(
    "stream",
    "captioner",
    without={"stream.same_similarity"},
    env={"stream.hop_s": "EDGE_AAC_CAPTION_HOP"},
    help_texts={
        "stream.hop_s": "Seconds from one 10 s window to the next. "
        "Default: hop_s of the configuration's [stream], else 10."
    },
    # A file is captioned once through; a stream looks more often, so that it says soon what it hears.
    defaults={"stream": {"hop_s": 10.0}},
)
def caption(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="WAV, FLAC, OGG, MP3 …", show_default=False)],
    given: GivenSettings,
    output_format: options.FormatOption = options.Format.AUTO,
) -> None:
    """Caption sound files: one record for each 10 s window."""
    options.log_to_stderr()
    _caption_files(files, given.load(), output_format)


def _caption_files(files: list[Path], settings: Settings, output_format: options.Format) -> None:
    from edge_aac.audio.windows import file_windows
    from edge_aac.models.seq2seq import window_rng
    from edge_aac.models.settings import CaptionerSettings
    from edge_aac.sinks.stdout import open_stdout
    from edge_aac.streaming.describe import Describer, file_span
    from edge_aac.streaming.gate import EnergyGate, ScoreGate
    from edge_aac.streaming.settings import StreamSettings
    from edge_aac.timebase import SAMPLE_RATE

    log = logging.getLogger(__name__)
    chosen, listening = settings.get(CaptionerSettings), settings.get(StreamSettings)
    captioner = options.open_captioner(chosen)
    gate = EnergyGate(listening.silence_dbfs)
    score_gate = ScoreGate(listening.least_score, listening.familiar_only)
    sink = open_stdout(output_format.value)
    hop_samples = round(listening.hop_s * SAMPLE_RATE)
    exit_code = 0
    for path in files:
        describer = Describer.of(captioner, listening.node, str(path))
        seq = 0
        try:
            for window in file_windows(path, hop_samples):
                span = file_span(window.start, window.start + window.samples)
                if not gate.passes(window):
                    log.info(
                        "%s: silent from %s s to %s s (%.1f dBFS)", path, span.start_s, span.end_s, window.rms_dbfs
                    )
                    continue
                try:
                    captioned = captioner.caption(
                        window.fbank, window_rng(chosen.seed, window.start), sound_samples=window.samples
                    )
                except DataError as error:
                    # The captioner does not know which file it hears.
                    raise DataError(
                        f"'{path}' cannot be captioned from {span.start_s} s to {span.end_s} s: {error}"
                    ) from error
                if not score_gate.passes(captioned):
                    log.info("%s: unsure from %s s to %s s (%s)", path, span.start_s, span.end_s, captioned.confidence)
                    continue
                sink.publish(describer.caption(seq, span, window, captioned))
                seq += 1
        except (DataError, InputMissingError) as error:
            # The others still get their captions; the first failure decides the exit code.
            log.error("%s", error)
            exit_code = exit_code or error.exit_code
    sink.close()
    if exit_code:
        raise typer.Exit(exit_code)
