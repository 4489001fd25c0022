"""A tagger that answers for the same windows as a bundle, so that the bundle is compared with its teacher."""

from __future__ import annotations

import numpy as np
import torch

from quantize.data.clips import Waveform
from quantize.data.everyday.confidence import confidences
from quantize.data.everyday.events import SURE
from quantize.data.everyday.heard_sounds import for_tagger
from quantize.data.everyday.lexicon import Lexicon
from quantize.evaluation.everyday.truth import TeacherAnswer
from quantize.models.taggers import Tagger


class Teacher:
    """Asks a tagger to name one sound of a window.

    Args:
        lexicon: the sounds.
        tagger: names AudioSet's classes.
        name: of the tagger, for reports.
    """

    def __init__(self, lexicon: Lexicon, tagger: Tagger, name: str) -> None:
        self.lexicon, self.name = lexicon, name
        self._tagger = tagger
        sounds = [lexicon.class_sounds[node.name] for node in lexicon.ontology.classes]
        self._class_sounds = np.array([sound or "" for sound in sounds])

    def answer(self, waveform: Waveform) -> TeacherAnswer:
        """What it hears most in the whole of a recording, (samples,) in ±1 at 16 kHz."""
        logits = self._tagger.tag(for_tagger(waveform)).logits
        probabilities = torch.sigmoid(logits.double()).numpy()
        known = np.where(self._class_sounds == "", 0.0, probabilities[0])
        top = str(self._class_sounds[int(known.argmax())]) if known.max() > 0.0 else None
        sure = {name: float(values[0]) for name, values in confidences(self.lexicon, probabilities).items()}
        return TeacherAnswer(top_sound(self.lexicon, sure), top)


def top_sound(lexicon: Lexicon, sure: dict[str, float]) -> str | None:
    """The most confident sound, as exact as it is sure.

    Of the sounds that reach :data:`~quantize.data.everyday.events.SURE` (where none does: that are as confident as the
    most confident one), those without an example among them; of these the most confident.

    Args:
        lexicon: the sounds.
        sure: confidence of each, never above that of a coarser one.
    """
    bar = min(SURE, max(sure.values()))
    if bar <= 0.0:
        return None
    reached = [name for name in lexicon.order if sure[name] >= bar]
    above = {coarser for name in reached for coarser in lexicon.names.ancestors(name)}
    return max((name for name in reached if name not in above), key=lambda name: sure[name])
