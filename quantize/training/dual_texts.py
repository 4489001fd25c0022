"""Texts that a student of CLAP learns: those of a file, or the lexicon's wordings of its sounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edge_aac.bundle.limits import MAX_LABEL, MAX_LABELS
from edge_aac.errors import DataError, InputMissingError
from edge_aac.models.tokens import plain_text
from quantize.data.everyday.lexicon import Lexicon, Sound, sound_of


@dataclass(frozen=True)
class Texts:
    """Distinct texts, lower-case without punctuation, as the bundle gets them.

    Attributes:
        texts: in order.
        groups: of each text a number that it shares with those that say the same: these are no negatives of each other.
        labels: what the bundle chooses from unless it is told otherwise; they are among the texts.
        of_label: label of a recording → places of the texts that say it.
    """

    texts: tuple[str, ...]
    groups: tuple[int, ...]
    labels: tuple[str, ...]
    of_label: Mapping[str, tuple[int, ...]]

    def saying(self, label: str, lexicon: Lexicon) -> tuple[int, ...]:
        """Places of the texts that say what a recording is labelled with; none where no text does.

        Args:
            label: "dog_bark", "a dog barks", or a class of AudioSet; "" of a recording without.
            lexicon: tells which sound a label is.
        """
        if found := self.of_label.get(plain_text(label.replace("_", " "))):
            return found
        sound = sound_of(lexicon, label)
        return self.of_label.get(sound, ()) if sound else ()


def texts_of_file(path: Path) -> Texts:
    """The lines of a UTF-8 file: labels, captions, or both, each once. The first 4096 of at most 200 characters are
    the labels of the bundle.

    Raises:
        InputMissingError: it is not there.
        DataError: it is no UTF-8, or has fewer than two lines with words.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8: save it as such") from error
    except OSError as error:
        raise InputMissingError(
            f"{path} cannot be read ({error.strerror}): give a file of texts, one a line"
        ) from error
    texts = tuple(dict.fromkeys(filter(None, map(plain_text, lines))))
    if len(texts) < 2:  # noqa: PLR2004 - one alone is nothing to tell apart
        raise DataError(f"{path} has fewer than two texts: give labels and captions, one a line")
    labels = tuple(text for text in texts if len(text) <= MAX_LABEL)[:MAX_LABELS]
    return Texts(texts, tuple(range(len(texts))), labels, {text: (place,) for place, text in enumerate(texts)})


def texts_of_lexicon(lexicon: Lexicon) -> Texts:
    """All wordings of all sounds; the labels are the first of each sound."""
    said = {name: wordings(sound) for name, sound in lexicon.sounds.items()}
    groups: dict[str, int] = {}
    for group, texts in enumerate(said.values()):
        groups.update({text: group for text in texts if text not in groups})
    places = {text: place for place, text in enumerate(groups)}
    of_label = {name: tuple(places[text] for text in texts) for name, texts in said.items()}
    labels = dict.fromkeys(texts[0] for texts in said.values())
    return Texts(tuple(groups), tuple(groups.values()), tuple(labels), of_label)


def wordings(sound: Sound) -> list[str]:
    """What is said of a sound: "a dog barks", "a dog barking", "barking"."""
    clauses = [f"{each.subject} {verb}" for each in sound.clauses for verb in (each.present, each.gerund)]
    return list(dict.fromkeys(map(plain_text, [*clauses, *sound.nouns])))
