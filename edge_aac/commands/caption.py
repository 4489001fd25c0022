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
from edge_aac.errors import DataError, InputMissingError

if TYPE_CHECKING:
    from edge_aac.config import Settings

app = typer.Typer(add_completion=False, rich_markup_mode=None)

# A file is captioned once through; a stream looks more often, so that it says soon what it hears.
_DEFAULTS = {"stream": {"hop_s": 10.0}}

EXAMPLES = """Examples:

  edge-aac caption dog.wav

  edge-aac caption --format json *.flac | jq -r .caption

  edge-aac caption --hop 2 an-hour.ogg
"""


@app.command(epilog=EXAMPLES)
def caption(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="WAV, FLAC, OGG, MP3 …", show_default=False)],
    hop: Annotated[
        float | None,
        typer.Option(
            envvar="EDGE_AAC_CAPTION_HOP",
            help="Seconds from one 10 s window to the next. Default: hop_s of the configuration's [stream], else 10.",
        ),
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
    node: options.NodeOption = None,
    output_format: options.FormatOption = options.Format.AUTO,
    config: options.ConfigOption = None,
) -> None:
    """Caption sound files: one record for each 10 s window."""
    options.log_to_stderr()
    given: dict[str, dict[str, object]] = {
        "captioner": options.captioner_section(locals()),
        "stream": {
            "silence_dbfs": silence_dbfs,
            "least_score": least_score,
            "familiar_only": familiar_only,
            "node": node,
            "hop_s": hop,
        },
    }
    from edge_aac.config import load_settings

    _caption_files(files, load_settings(config, given, _DEFAULTS), output_format)


def _caption_files(files: list[Path], settings: Settings, output_format: options.Format) -> None:
    from edge_aac.audio.windows import file_windows
    from edge_aac.models.seq2seq import window_rng
    from edge_aac.sinks.stdout import open_stdout
    from edge_aac.streaming.describe import Describer, file_span
    from edge_aac.streaming.gate import EnergyGate, ScoreGate
    from edge_aac.timebase import SAMPLE_RATE

    log = logging.getLogger(__name__)
    chosen = settings.captioner
    captioner = options.open_captioner(chosen)
    gate = EnergyGate(settings.stream.silence_dbfs)
    score_gate = ScoreGate(settings.stream.least_score, settings.stream.familiar_only)
    sink = open_stdout(output_format.value)
    hop_samples = round(settings.stream.hop_s * SAMPLE_RATE)
    exit_code = 0
    for path in files:
        describer = Describer.of(captioner, settings.stream.node, str(path))
        seq = 0
        try:
            for window in file_windows(path, hop_samples):
                span = file_span(window.start, window.start + window.samples)
                if not gate.passes(window):
                    log.info(
                        "%s: silent from %s s to %s s (%.1f dBFS)", path, span.start_s, span.end_s, window.rms_dbfs
                    )
                    continue
                (captioned,) = captioner.describe([window], [window_rng(chosen.seed, window.start)])
                if isinstance(captioned, DataError):
                    # The captioner does not know which file it hears.
                    raise DataError(
                        f"'{path}' cannot be captioned from {span.start_s} s to {span.end_s} s: {captioned}"
                    ) from captioned
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
