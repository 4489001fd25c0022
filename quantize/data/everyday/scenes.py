"""Scenes of everyday sounds with what is heard in them: pieces of stored sounds, and the events that a tagger heard.

Scene ``i`` of epoch ``e`` comes from a generator seeded with (seed, e, i): the same in any process and any order. What
is true of a scene follows from what was heard in each sound by itself, where that is clear, not from the mixture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from edge_aac.timebase import SAMPLE_RATE
from quantize.data.clips import Waveform
from quantize.data.everyday.events import HeardEvent, believed, mixed
from quantize.data.everyday.heard_sounds import LONGEST_S
from quantize.data.everyday.lexicon import Lexicon, sound_of
from quantize.data.sound_shaping import looped
from quantize.data.sounds.pieces import Piece, PieceMaker, PieceRecipe, anywhere, noise_bed
from quantize.data.sounds.store import SoundStore, StoredSound
from quantize.models.config import ascending, not_negative, probabilities, within

SCENE_S = 10.0
_SAMPLES = round(SCENE_S * SAMPLE_RATE)
_LEAST_S = 0.3
"""What is left of an event that a piece cuts off is told if it is at least this long."""

_LOOPED_COVERS = 0.8

_CROWD = 8
"""Of 16 383 sounds 25 were heard as more than so many at once, up to 269: clicks, tones of one frequency."""


@dataclass(frozen=True)
class EverydaySceneRecipe(PieceRecipe):
    """How scenes of 10 s are drawn, and the pieces that they are made of. Levels in dB, lengths in seconds.

    Attributes:
        sound_counts: probabilities of 0, 1, 2, 3 … sounds.
        sequence_probability: how often several sounds come one after the other.
        start_probability: how often the first begins with the window, as files do.
        loop_probability: how often a sound that may go on and on is looped to a greater length.
        gain_db: how far below the loudest another sound may lie.
        peak_db: bounds of the peak of the whole, relative to full scale.
        noise_probability, noise_snr_db: how often noise lies under all, and how far below the sounds.
        noise_dbfs: bounds of the level of noise where there is no sound.
        background_probability: how often a scene without sounds holds one that is no sound of a thing in place of
            noise: hum, static, a microphone that is touched.
        background_peak_db: bounds of the peak of such a scene: static as loud as rain is as good as rain.
        far_db: a sound whose direct sound is this far below the room's is told as far away.
        faintest_dbfs: what is fainter is not heard.
        unlabelled_from: confidence that an event needs beside the label of a recording.
    """

    sound_counts: tuple[float, ...] = (0.08, 0.44, 0.34, 0.14)
    sequence_probability: float = 0.5
    start_probability: float = 0.3
    loop_probability: float = 0.5
    gain_db: float = 12.0
    peak_db: tuple[float, float] = (-45.0, 0.0)
    noise_probability: float = 0.6
    noise_snr_db: tuple[float, float] = (10.0, 50.0)
    noise_dbfs: tuple[float, float] = (-75.0, -34.0)
    background_probability: float = 0.6
    background_peak_db: tuple[float, float] = (-55.0, -12.0)
    far_db: float = -3.0
    faintest_dbfs: float = -58.0
    unlabelled_from: float = 0.95

    def __post_init__(self) -> None:
        super().__post_init__()
        probabilities(self, "sound_counts")
        not_negative(self, "gain_db")
        ascending(self, "peak_db", "noise_snr_db", "noise_dbfs", "background_peak_db")
        within(self, "unlabelled_from", 0.0, 1.0)
        within(self, "background_probability", 0.0, 1.0)


@dataclass(frozen=True)
class EverydayScene:
    """10 s of sound and what is heard in it.

    Attributes:
        waveform: (160000,) float32 in ±1.
        events: in the order of their onsets.
    """

    waveform: Waveform
    events: tuple[HeardEvent, ...]


@dataclass(frozen=True)
class _Placed:
    """A piece in a scene.

    Attributes:
        events: what is heard in it, times from its start, levels of the sound as it is stored.
        start: sample of the scene at which it begins.
        level_db: how much louder it is than as it is stored.
    """

    waveform: Waveform
    events: tuple[HeardEvent, ...]
    start: int
    level_db: float


class EverydayScenes:
    """Makes scenes of a store's sounds.

    Args:
        store: holds the sounds.
        heard: what a tagger heard in each of them, in the store's order.
        lexicon: the sounds that there are words for.
        recipe: how scenes are drawn.
        seed: of all draws.
        held_out: folds that no scene may hold a sound of, nor a copy of one.
        absent: sounds that no scene may hold, by label or as the tagger hears them.

    Raises:
        DataError: no sound is left.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - of what, drawn how, without which
        self,
        store: SoundStore,
        heard: Sequence[tuple[HeardEvent, ...]],
        lexicon: Lexicon,
        recipe: EverydaySceneRecipe,
        seed: int,
        held_out: Sequence[int],
        absent: Sequence[str] = (),
    ) -> None:
        self.lexicon, self.recipe, self.seed = lexicon, recipe, seed
        self._heard = {
            (row.source, row.title, row.start): _trusted(lexicon, row, events, recipe.unlabelled_from)
            for row, events in zip(store.rows, heard, strict=True)
        }
        kept = without(store, heard, lexicon, absent) if absent else store
        longest = round(LONGEST_S * SAMPLE_RATE)
        rows = tuple(replace(row, length=min(row.length, longest)) for row in kept.rows)
        self._pieces = PieceMaker(replace(kept, rows=rows), recipe, held_out)
        self._backgrounds = [row for row in self._pieces.rows if row.label in lexicon.background]

    @property
    def rows(self) -> Sequence[StoredSound]:
        """The sounds that scenes are made of."""
        return self._pieces.rows

    def heard_in(self, row: StoredSound) -> tuple[HeardEvent, ...]:
        """What is heard in a stored sound."""
        return self._heard[row.source, row.title, row.start]

    def scene(self, epoch: int, index: int) -> EverydayScene:
        """The scene of this number, the same whenever it is asked for."""
        recipe = self.recipe
        rng = np.random.default_rng([self.seed, epoch, index])
        count = int(rng.choice(len(recipe.sound_counts), p=recipe.sound_counts))
        peaks_db = recipe.peak_db if count else recipe.background_peak_db
        if count:
            in_turn = count > 1 and rng.random() < recipe.sequence_probability
            placed = self._placed([self._pieces.drawn(rng) for _ in range(count)], in_turn, rng)
        elif self._backgrounds and rng.random() < recipe.background_probability:
            placed = self._placed([self._backgrounds[int(rng.integers(len(self._backgrounds)))]], False, rng)
        else:
            placed = []
        total = np.zeros(_SAMPLES, np.float32)
        for one in placed:
            total[one.start : one.start + len(one.waveform)] += one.waveform
        if not placed:
            level_db = rng.uniform(*recipe.noise_dbfs)
            return EverydayScene(_noise(self.seed, rng) * np.float32(10.0 ** (level_db / 20.0)), ())
        if rng.random() < recipe.noise_probability:
            below_db = rng.uniform(*recipe.noise_snr_db)
            level = max(float(np.sqrt(np.square(total).mean())), 1e-4)
            total += _noise(self.seed, rng) * np.float32(level * 10.0 ** (-below_db / 20.0))
        peak_db = rng.uniform(*peaks_db)
        gain = 10.0 ** (peak_db / 20.0) / float(np.abs(total).max())
        gain_db = 20.0 * float(np.log10(gain))
        parts = [(one.events, one.start / SAMPLE_RATE, one.level_db + gain_db) for one in placed]
        heard = tuple(event for event in mixed(parts, SCENE_S) if event.level_db >= recipe.faintest_dbfs)
        return EverydayScene(total * np.float32(gain), heard)

    def _placed(self, rows: Sequence[StoredSound], in_turn: bool, rng: np.random.Generator) -> list[_Placed]:
        placed: list[_Placed] = []
        cursor, count = 0, len(rows)
        for number, row in enumerate(rows):
            left = _SAMPLES - cursor
            room = round(left / (count - number) * rng.uniform(0.8, 1.2)) if in_turn else left
            piece = self._pieces.piece(row, min(room, left) if number + 1 < count else left, rng)
            if piece is None:
                continue
            waveform, events = self._lasting(piece, self._events(piece), min(room, left), rng)
            spare = min(room, left) - len(waveform)
            begins = not placed and rng.random() < self.recipe.start_probability
            start = cursor + (0 if begins else anywhere(spare, rng))
            below_db = rng.uniform(0.0, self.recipe.gain_db) if placed else 0.0
            level_db = 20.0 * float(np.log10(piece.gain)) - below_db
            placed.append(_Placed(waveform * np.float32(10.0 ** (-below_db / 20.0)), events, start, level_db))
            if in_turn:
                cursor = min(start + len(waveform), _SAMPLES - 1)
        return placed

    def _events(self, piece: Piece) -> tuple[HeardEvent, ...]:
        """What is heard in a piece, times in the piece."""
        first_s, seconds = piece.first / SAMPLE_RATE, len(piece.waveform) / SAMPLE_RATE
        far = True if piece.direct_db is not None and piece.direct_db <= self.recipe.far_db else None
        found: list[HeardEvent] = []
        for copy in piece.copies:
            for event in self.heard_in(piece.row):
                start_s, end_s = ((time_s - first_s) / piece.speed for time_s in (event.start_s, event.end_s))
                begin, end = max(start_s, 0.0), min(end_s, piece.length / SAMPLE_RATE)
                whole = begin == start_s and end == end_s
                if end - begin < (0.0 if whole else _LEAST_S):
                    continue
                at_s = copy / SAMPLE_RATE
                found.append(
                    replace(
                        event,
                        start_s=at_s + begin,
                        end_s=min(at_s + end, seconds),
                        count=event.count if whole else None,
                        far=far,
                    )
                )
        return tuple(event for event in found if event.end_s > event.start_s)

    def _lasting(
        self, piece: Piece, events: tuple[HeardEvent, ...], room: int, rng: np.random.Generator
    ) -> tuple[Waveform, tuple[HeardEvent, ...]]:
        """A sound that may go on and on, sometimes looped; it is heard from end to end then."""
        seconds = len(piece.waveform) / SAMPLE_RATE
        steady = all(
            event.beliefs
            and self.lexicon[event.beliefs[0].sound].steady
            and event.end_s - event.start_s >= _LOOPED_COVERS * seconds
            for event in events
        )
        if not events or not steady or seconds < 1.0 or rng.random() >= self.recipe.loop_probability:
            return piece.waveform, events
        length = round(rng.uniform(0.4, 1.0) * room)
        if length <= len(piece.waveform):
            return piece.waveform, events
        waveform = looped(piece.waveform, length, rng)
        return waveform, tuple(replace(event, start_s=0.0, end_s=len(waveform) / SAMPLE_RATE) for event in events)


def without(
    store: SoundStore, heard: Sequence[tuple[HeardEvent, ...]], lexicon: Lexicon, absent: Sequence[str]
) -> SoundStore:
    """A store without some sounds and their examples, by label or as a tagger hears them.

    Args:
        store: holds the sounds.
        heard: what a tagger heard in each of them, in the store's order.
        lexicon: the sounds that there are words for.
        absent: names of sounds, or labels of recordings.
    """
    left_out = {lexicon.by_label.get(name, name) for name in absent}

    def holds(row: StoredSound, events: tuple[HeardEvent, ...]) -> bool:
        said = {sound_of(lexicon, row.label)} if row.label else set()
        said |= {event.beliefs[0].sound for event in events if event.beliefs}
        return any(left_out & {sound, *lexicon.names.ancestors(sound)} for sound in said if sound)

    rows = tuple(row for row, events in zip(store.rows, heard, strict=True) if not holds(row, events))
    return replace(store, rows=rows)


def _noise(seed: int, rng: np.random.Generator) -> Waveform:
    return noise_bed(_SAMPLES, seed, rng)


def _trusted(
    lexicon: Lexicon, row: StoredSound, events: tuple[HeardEvent, ...], unlabelled_from: float
) -> tuple[HeardEvent, ...]:
    """What is taken to be heard in a sound.

    What has nothing to do with a label must be sure to be heard beside it, and nothing is called more exactly than the
    label says; where the tagger knows nothing, the labelled sound is heard. One that hears a crowd of sounds at once
    has understood none. Noise, hum and silence are no sound of a thing, whatever the tagger takes them for. A sound
    that has no label, and in which the tagger hears nothing, is one that nobody knows; so is a tone, whose class
    names no thing.
    """
    if row.label in lexicon.background:
        return ()
    label = sound_of(lexicon, row.label)
    unknown = (HeardEvent((), 0.0, row.length / SAMPLE_RATE),)
    if len(events) > _CROWD:
        events = unknown
    if label is None and row.label not in lexicon.ontology.nodes:
        return events or unknown

    def meant(event: HeardEvent) -> bool:
        return label is not None and lexicon.names.related(event.beliefs[0].sound, label)

    named = believed(lexicon, label) if label else ()
    known = (event if event.beliefs else replace(event, beliefs=named) for event in events if event.beliefs or named)
    sure = (event for event in known if meant(event) or event.beliefs[0].confidence >= unlabelled_from)
    heard = tuple(_no_finer(lexicon, event, label) if meant(event) else event for event in sure)
    return heard if label else heard or unknown


def _no_finer(lexicon: Lexicon, event: HeardEvent, label: str | None) -> HeardEvent:
    """The event without beliefs in examples of the label."""
    beliefs = tuple(
        belief for belief in event.beliefs if label is None or label not in lexicon.names.ancestors(belief.sound)
    )
    return replace(event, beliefs=beliefs)
