"""Files and a prompt: what a bundle answers about each piece of a file."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path

from edge_aac import signals
from edge_aac.audio.clips import Clip
from edge_aac.audio.damage import cut_to_the_end
from edge_aac.audio.sources.file import read_channels
from edge_aac.errors import DataError, EdgeAacError
from edge_aac.models.prompted import Answer as Answered
from edge_aac.models.prompted import Prompted
from edge_aac.models.tokens import plain_text
from edge_aac.records import Record, as_text
from edge_aac.records.answer import Answer, PossibleAnswer
from edge_aac.streaming.building import latency_ms, rounded
from edge_aac.streaming.offline import readable
from edge_aac.streaming.privacy import PrivacyGate

log = logging.getLogger(__name__)


class FileAsker:
    """Asks about whole files, clip after clip.

    A sound that is no longer than a clip is one clip: it is repeated until it is full, channel after channel, as the
    published systems hear it. Of longer sound the clips follow each other, the last one ending where the sound does;
    each channel is asked by itself, and the answer of the highest log-likelihood is given.

    Args:
        model: answers.
        prompt: as :meth:`edge_aac.models.prompted_manifest.PromptedManifest.prompt_of` gives it.
        task: name of the prompt, for the records; None where it has none.
        node: name of the device.
        privacy: says which answers may be told.
        publish: function that is given the records; it may wait.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what a record is made of
        self,
        model: Prompted,
        prompt: str,
        task: str | None,
        node: str,
        privacy: PrivacyGate,
        publish: Callable[[Record], None],
    ) -> None:
        self._model, self._prompt, self._task = model, prompt, task
        self._node, self._privacy, self._publish = node, privacy, publish
        self._cut_told = False

    def ask(self, path: Path) -> None:
        """Ask about a file; of one that is damaged, about what comes before the damage.

        Args:
            path: a file or a pipe, as the user named it.

        Raises:
            InputMissingError: the file is not there, cannot be read, or is nothing that has an end, as a device.
            DataError: it cannot be read to its end, or a clip of it gives no usable numbers.
        """
        failure: EdgeAacError | None = None
        for span, of_channels in groupby(self._clips(path), key=lambda clip: (clip.start_s, clip.end_s)):
            signals.exit_if_swallowed()
            where = f"{path}: from {span[0]:.3f} s to {span[1]:.3f} s"
            try:
                answers = [self._model.answer(self._model.hear(clip.waveform), self._prompt) for clip in of_channels]
            except DataError as error:
                log.warning("%s: not answered: %s", where, error)
                failure = failure or DataError(f"'{path}' cannot be asked about from {span[0]:.3f} s: {error}")
                continue
            best = max(answers, key=lambda answer: answer.likelihood)
            self._tell_of_cut(best)
            texts = (best.prompt, *(text for answer in answers for text in answer.texts))  # "yes" tells what is asked
            verdict = self._privacy.judge_texts([plain_text(text) for text in texts])
            if not verdict.published:
                log.info("%s: private, not published", where)
                continue
            self._publish(self._record(path, span, best, speech=verdict.speech))
        if failure is not None:
            raise failure

    def _clips(self, path: Path) -> Iterator[Clip]:
        clip = self._model.manifest.clip
        cutter = clip.cutter()
        with readable(path):
            yield from cut_to_the_end(read_channels(path, clip.sample_rate), cutter.push, cutter.flush)

    def _tell_of_cut(self, answer: Answered) -> None:
        if answer.cut and not self._cut_told:
            log.warning("the prompt is longer than the bundle reads: its end is not heard")
            self._cut_told = True

    def _record(self, path: Path, span: tuple[float, float], answer: Answered, speech: bool) -> Answer:
        return Answer(
            node=self._node,
            source=as_text(str(path)),
            start_s=round(span[0], 3),
            end_s=round(span[1], 3),
            answer=answer.texts[0].strip(),
            prompt=answer.prompt or None,
            task=self._task,
            answers=[
                PossibleAnswer(text=text.strip(), log_likelihood=rounded(score, 4))
                for text, score in zip(answer.texts, answer.beams.scores.tolist(), strict=True)
            ],
            speech=True if speech else None,
            model=self._model.identity,
            latency_ms=latency_ms(answer.latency_ms),
        )
