"""A labelled set by the sounds that its labels mean: which of many sounds is it, and is a coarser name of it right?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from edge_aac.errors import UsageError
from edge_aac.fluency.sound_names import SoundNames
from edge_aac.models.sound_wordings import SoundWordings
from quantize.data.everyday.lexicon import Lexicon, english, sound_of
from quantize.data.everyday.named_sounds import named_right
from quantize.data.task_sets.contract import LabelledRecording, LabelledSet


@dataclass(frozen=True)
class SoundSet:
    """A labelled set whose labels are sounds of the lexicon.

    Attributes:
        labelled: the recordings of which at least one label means a sound; labels are names of sounds.
        left_out: name of each other recording → its labels.
        lexicon: the sounds.
    """

    labelled: LabelledSet
    left_out: Mapping[str, str]
    lexicon: Lexicon

    def among(self, listed: SoundNames | None, name: str) -> SoundSet:
        """The set with all sounds that a bundle lists to choose from.

        Args:
            listed: the bundle's sounds; None where it lists none.
            name: of the bundle, for the message.

        Raises:
            UsageError: it lists none, or not all that the recordings are.
        """
        known = set(listed.sounds) if listed else set()
        missing = {sound for each in self.labelled.recordings for sound in each.labels} - known
        if missing:
            what = f"not the sound {min(missing)}" if known else "no sounds"
            raise UsageError(f"the bundle {name} lists {what}: give --sounds in place of --listed-sounds")
        return replace(self, labelled=replace(self.labelled, labels=tuple(sorted(known))))

    def coarser(self, found: str, true: Sequence[str]) -> bool:
        """Whether a sound is a true one, or one that a true one is an example of, below the tops of AudioSet's tree; as
        captions are judged (:func:`quantize.data.everyday.named_sounds.named_right`).
        """
        return any(named_right(self.lexicon, [found], sound) for sound in true)


def set_of_sounds(labelled: LabelledSet) -> SoundSet:
    """A set by the sounds that its labels mean, each once: labels of the lexicon, classes of AudioSet, names of sounds
    and their wordings.

    Raises:
        UsageError: none of its recordings has a label that means one.
    """
    lexicon = english()
    named = SoundWordings(lexicon.names)
    sounds = {label: sound_of(lexicon, label) or named.sound_of(label) for label in labelled.labels}
    kept: list[LabelledRecording] = []
    left_out: dict[str, str] = {}
    for each in labelled.recordings:
        meant = tuple(dict.fromkeys(sound for label in each.labels if (sound := sounds[label]) is not None))
        if meant:
            kept.append(replace(each, labels=meant))
        else:
            left_out[each.recording.name] = " ".join(each.labels)
    if not kept:
        raise UsageError(
            f"no label of {labelled.about.name}, {labelled.about.part}, means an everyday sound: leave --sounds out"
        )
    names = tuple(sorted({sound for sound in sounds.values() if sound is not None}))
    return SoundSet(replace(labelled, labels=names, recordings=tuple(kept)), left_out, lexicon)
