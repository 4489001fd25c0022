"""The weighted ensemble: several captioners that write one caption together.

At each step the next token is found in the weighted mean of the members' distributions
(:func:`edge_aac.models.mixture.log_mixture`); temperature, top-p and all other rules apply to that mean. The candidates
are ranked by the weighted mean of the members' hybrid scores:

    hybrid(text) = Σ_m share_m · (a_m · log-likelihood(text) + b_m · similarity_m(text))

where the log-likelihood is the mixture's own, and the similarity of a text compares each member's embedding of it with
the same member's embedding of the sound. a_m and b_m are the weights of the member's bundle, 0.3 and 0.7 as published.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from edge_aac import records
from edge_aac.audio.windows import Window
from edge_aac.bundle.manifest import DecodingRules, FamiliarityRule
from edge_aac.bundle.store import Bundle
from edge_aac.errors import DataError
from edge_aac.fluency.sound_names import SoundNames
from edge_aac.models.contract import ScoredCaption, SharedWork
from edge_aac.models.decoding import Candidate, find_candidates
from edge_aac.models.encoding import Encoded
from edge_aac.models.mixture import MixtureSteps
from edge_aac.models.pipeline import RunLimits, StagedModel
from edge_aac.models.sampling import Withheld
from edge_aac.models.seq2seq import Captioner, check_words_left
from edge_aac.models.sureness import Sureness
from edge_aac.models.whole_words import Held

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class EncodedByAll:
    """W windows as every member has encoded them.

    Attributes:
        members: of each member, in order.
        familiarity: (W,) scores of the ensemble; None where it has no such score.
        sounds: (W, S) confidences of the ensemble; None where it does not tell them.
    """

    members: tuple[Encoded, ...]
    familiarity: Array | None
    sounds: Array | None = None

    @property
    def audio_embeddings(self) -> Array:
        """(W, E) of the first member, with whose text embeddings they are compared later on."""
        return self.members[0].audio_embeddings

    @property
    def all_padding(self) -> npt.NDArray[np.bool_]:
        """(W,), whether a member can attend to nothing of a window."""
        return np.asarray(np.any([encoded.all_padding for encoded in self.members], axis=0))

    def selected(self, numbers: Sequence[int]) -> EncodedByAll:
        """Those of the windows with these numbers, in ascending order."""
        chosen = list(numbers)
        return EncodedByAll(
            tuple(encoded.selected(chosen) for encoded in self.members),
            None if self.familiarity is None else self.familiarity[chosen],
            None if self.sounds is None else self.sounds[chosen],
        )


class Ensemble(StagedModel):
    """Captions windows with several bundles at once: see :mod:`edge_aac.models.ensemble`.

    The embeddings that it gives, of sounds and of texts, are the first member's, as is what they are compared by. Which
    windows are wanted is asked after the first member has encoded them; the others encode those alone.

    How familiar a window is, is the weighted mean of the scores of those members that have one, and the threshold the
    weighted mean of theirs. A token that any of them withholds from unfamiliar windows is withheld. The confidence of a
    sound is the weighted mean of those that members tell, and its threshold that of theirs.

    Like a captioner, an ensemble serves one thread at a time.

    Attributes:
        members: the captioners.
        shares: their weights, brought to a sum of 1.
        rules: rules of decoding, the first member's.
        familiarity: the rule for unfamiliar windows; None where no member has one.
        sureness: the rule for naming sounds; None where no member has one.
        withheld: (V,) tokens that no caption of an unfamiliar window may hold.
        limits: numbers of windows that one run of every member takes.

    Args:
        members: at least one, of one vocabulary and with the same rules of decoding; see
            :func:`edge_aac.models.opening.open_ensemble`.
        weights: positive, one a member, of any sum.

    Raises:
        DataError: the members' rules for unfamiliar windows have no word in common, or they list different sounds.
    """

    def __init__(self, members: Sequence[Captioner], weights: Sequence[float]) -> None:
        if len(members) != len(weights) or not members or min(weights) <= 0.0:
            raise ValueError(f"{len(members)} members, weights {list(weights)}")
        self.members = tuple(members)
        total = math.fsum(weights)
        self.shares = tuple(weight / total for weight in weights)
        # Of the weights themselves: a share may be too small for a float, its logarithm is not.
        self._log_shares = np.array([math.log(weight) - math.log(total) for weight in weights], np.float32)
        self.rules = self.members[0].rules
        self._scoring = tuple(number for number, member in enumerate(self.members) if member.familiarity is not None)
        self._telling = tuple(number for number, member in enumerate(self.members) if member.sureness is not None)
        self.familiarity = self._familiarity_rule()
        self.sureness = self._sureness_rule()
        masks = [mask for member in self.members if (mask := member.withheld) is not None]
        self.withheld: Withheld | None = np.logical_or.reduce(masks) if masks else None
        check_words_left(self.bundles, self.withheld, self.sureness)
        self.limits = RunLimits.of_all(member.limits for member in self.members)

    def try_out(self) -> None:
        """See :meth:`edge_aac.models.seq2seq.Captioner.try_out`, of each member."""
        for member in self.members:
            member.try_out()

    @property
    def bundles(self) -> tuple[Bundle, ...]:
        """The members' bundles."""
        return tuple(member.bundle for member in self.members)

    @property
    def identity(self) -> records.Model:
        """See :class:`edge_aac.models.contract.WindowModel`: the members' names in a list with commas, as users give
        them, and of the rest one value where all are alike."""
        each = [member.identity for member in self.members]
        return records.Model(
            bundle=",".join(identity.bundle for identity in each),
            version=_listed([identity.version for identity in each]),
            backend=_listed([identity.backend for identity in each]),
            precision=_listed([identity.precision for identity in each]),
        )

    @property
    def language(self) -> str:
        """See :class:`edge_aac.models.contract.WindowModel`."""
        return self.members[0].language

    @property
    def same_similarity(self) -> float:
        """See :class:`edge_aac.models.contract.WindowModel`; the first member's, as is :meth:`embed`."""
        return self.members[0].same_similarity

    @property
    def shared_work(self) -> SharedWork | None:
        """See :class:`edge_aac.models.contract.SharingModel`."""
        shared = [work for member in self.members if (work := member.shared_work) is not None]
        return SharedByMembers(shared) if shared else None

    @property
    def sound_names(self) -> SoundNames | None:
        """See :class:`edge_aac.models.contract.NamingModel`; those of the first member whose bundle lists any."""
        return next((names for member in self.members if (names := member.sound_names) is not None), None)

    def embed(self, texts: Sequence[str]) -> Array:
        """See :class:`edge_aac.models.contract.WindowModel`; the first member's."""
        return self.members[0].embed(texts)

    def encode(self, windows: Sequence[Window], cancelled: Callable[[], bool]) -> Encoded:
        """See :class:`edge_aac.models.pipeline.CaptioningStages`: the first member's."""
        return self.members[0].encode(windows, cancelled)

    def complete(
        self, encoded: Encoded, windows: Sequence[Window], numbers: Sequence[int], cancelled: Callable[[], bool]
    ) -> EncodedByAll:
        """See :class:`edge_aac.models.pipeline.CaptioningStages`: the other members encode what is wanted."""
        kept = [windows[number] for number in numbers]
        others = [member.encode(kept, cancelled) for member in self.members[1:]]
        members = (encoded.selected(numbers), *others)
        return EncodedByAll(members, self._familiarity_of(members), self._sounds_of(members))

    def decode(
        self,
        encoded: EncodedByAll,
        part: slice,
        rngs: Sequence[np.random.Generator],
        cancelled: Callable[[], bool],
        held: Sequence[Held],
        rules: DecodingRules,
    ) -> list[list[Candidate] | DataError]:
        """See :class:`edge_aac.models.pipeline.CaptioningStages`: candidates of the mixture."""
        opened = [
            member.decoder.open_steps(of_member.memory.part(part.start, part.stop), rules)[0]
            for member, of_member in zip(self.members, encoded.members, strict=True)
        ]
        return find_candidates(MixtureSteps(opened, self._log_shares), rules, rngs, cancelled, held)

    def chosen(self, encoded: EncodedByAll, numbers: Sequence[int]) -> EncodedByAll:
        """See :class:`edge_aac.models.pipeline.CaptioningStages`."""
        return encoded.selected(numbers)

    def agreed(self, candidates: Sequence[Candidate]) -> list[str]:
        """See :class:`edge_aac.models.pipeline.CaptioningStages`: by the first member's words."""
        return self.members[0].reranker.agreed(candidates, self.sound_names)

    def rank(
        self, candidates: Sequence[Sequence[Candidate]], encoded: EncodedByAll, numbers: Sequence[int]
    ) -> list[list[ScoredCaption] | DataError]:
        """See :class:`edge_aac.models.pipeline.CaptioningStages`: by the weighted mean of the members' scores."""
        first = self.members[0].reranker
        likelihoods = first.merge(candidates)
        by_member = [
            member.reranker.score(likelihoods, of_member.audio_embeddings[list(numbers)])
            for member, of_member in zip(self.members, encoded.members, strict=True)
        ]
        return first.order([self._averaged(of_window) for of_window in zip(*by_member, strict=True)])

    def _averaged(self, by_member: Sequence[Sequence[ScoredCaption]]) -> list[ScoredCaption]:
        """The texts of one window with the ensemble's scores, from those of each member in the same order.

        A member counts for the similarity as it does for the hybrid score: not at all where its weight there is 0.
        """
        weights = [
            share * member.reranker.weights.similarity for share, member in zip(self.shares, self.members, strict=True)
        ]

        def averaged(captions: Sequence[ScoredCaption]) -> ScoredCaption:
            hybrid = sum(share * caption.hybrid for share, caption in zip(self.shares, captions, strict=True))
            compared = [
                (weight, caption.similarity)
                for weight, caption in zip(weights, captions, strict=True)
                if caption.similarity is not None
            ]
            total = sum(weight for weight, _ in compared)
            similarity = sum(weight * value for weight, value in compared) / total if total else None
            return replace(captions[0], hybrid=hybrid, similarity=similarity)

        return [averaged(captions) for captions in zip(*by_member, strict=True)]

    def _familiarity_rule(self) -> FamiliarityRule | None:
        rules = [rule for member in self.members if (rule := member.familiarity) is not None]
        if not rules:
            return None
        words = [word for word in rules[0].words if all(word in rule.words for rule in rules)]
        if not words:
            raise DataError(
                f"the bundles {_quoted(self.bundles)} have no word for unfamiliar sounds in common: caption with each "
                "by itself"
            )
        threshold = np.average([rule.threshold for rule in rules], weights=self._shares_of(self._scoring))
        return FamiliarityRule(threshold=float(threshold), words=words)

    def _familiarity_of(self, encoded: Sequence[Encoded]) -> Array | None:
        scores = [scored for number in self._scoring if (scored := encoded[number].familiarity) is not None]
        return np.average(scores, axis=0, weights=self._shares_of(self._scoring)).astype(np.float32) if scores else None

    def _sureness_rule(self) -> Sureness | None:
        members = [self.members[number] for number in self._telling]
        rules = [sureness for member in members if (sureness := member.sureness) is not None]
        if not rules:
            return None
        for member, other in zip(members, rules, strict=True):
            if not rules[0].same_sounds(other):
                raise DataError(
                    f"the bundles {_quoted([members[0].bundle, member.bundle])} list different sounds, or other words "
                    "for them: caption with each by itself"
                )
        threshold = np.average([one.rule.threshold for one in rules], weights=self._shares_of(self._telling))
        return rules[0].with_threshold(float(threshold))

    def _sounds_of(self, encoded: Sequence[Encoded]) -> Array | None:
        told = [sounds for number in self._telling if (sounds := encoded[number].sounds) is not None]
        return np.average(told, axis=0, weights=self._shares_of(self._telling)).astype(np.float32) if told else None

    def _shares_of(self, numbers: Sequence[int]) -> list[float]:
        """Shares of some of the members."""
        return [self.shares[number] for number in numbers]


class SharedByMembers:
    """What windows of one stretch share in the members of an ensemble: :class:`edge_aac.models.contract.SharedWork`.

    Args:
        members: what they share in each member that shares anything.
    """

    def __init__(self, members: Sequence[SharedWork]) -> None:
        self._members = members

    @property
    def hop_samples(self) -> int:
        """A hop at which every member shares the most."""
        return math.lcm(*(member.hop_samples for member in self._members))

    @property
    def computed(self) -> int:
        """Number of parts that were computed, of all members."""
        return sum(member.computed for member in self._members)

    @property
    def reused(self) -> int:
        """Number of parts that were known, of all members."""
        return sum(member.reused for member in self._members)


def _listed(values: Sequence[str]) -> str:
    """One value where all are alike; else those of the members in order, with commas."""
    return values[0] if len(set(values)) == 1 else ",".join(values)


def _quoted(bundles: Sequence[Bundle]) -> str:
    return " and ".join(repr(bundle.opened_as) for bundle in bundles)
