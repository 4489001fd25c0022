"""What a user may choose in place of what a captioner's bundle says."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from edge_aac.bundle.manifest import DecodingMethod, DecodingRules, FamiliarityRule, RerankWeights, Seq2SeqManifest
from edge_aac.bundle.sureness import SurenessRule
from edge_aac.errors import ConfigError, first_complaint
from edge_aac.fluency.languages import FluencyCheck, fluency_check

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Choices:
    """The user's choices in place of the bundle's; None keeps the bundle's.

    Attributes:
        method: "nucleus", "greedy" or "beam".
        first_candidates: candidates that are drawn first, and alone where they agree.
        max_length: longest caption in tokens, start and end counted.
        likelihood_weight, similarity_weight: weights of the two scores that candidates are ranked by.
        fluency_check: whether faulty sentences are ranked behind all others; None means yes where the bundle's
            language has a check.
        min_familiarity: familiarity below which captions name no class; it replaces the bundle's threshold.
        min_confidence: confidence below which a sound is not named; it replaces the bundle's threshold.
    """

    method: DecodingMethod | None = None
    max_length: int | None = None
    first_candidates: int | None = None
    likelihood_weight: float | None = None
    similarity_weight: float | None = None
    fluency_check: bool | None = None
    min_familiarity: float | None = None
    min_confidence: float | None = None

    def rules(self, manifest: Seq2SeqManifest, candidates: int | None) -> DecodingRules:
        """The bundle's rules of decoding with these choices."""
        return _changed(
            manifest.decoding,
            candidates=candidates,
            first_candidates=self.first_candidates,
            method=self.method,
            max_length=self.max_length,
        )

    def familiarity(self, manifest: Seq2SeqManifest) -> FamiliarityRule | None:
        """The bundle's rule for unfamiliar windows with these choices; None where it has none.

        Raises:
            ConfigError: a threshold was chosen, and the bundle has no such rule.
        """
        untold = "how familiar a sound is: leave out min_familiarity"
        return _with_threshold(manifest, manifest.familiarity, self.min_familiarity, untold)

    def sureness(self, manifest: Seq2SeqManifest) -> SurenessRule | None:
        """The bundle's rule for naming sounds with these choices; None where it has none.

        Raises:
            ConfigError: a threshold was chosen, and the bundle has no such rule.
        """
        untold = "how sure it is of a sound: leave out min_confidence"
        return _with_threshold(manifest, manifest.sureness, self.min_confidence, untold)

    def check_of(self, manifest: Seq2SeqManifest) -> FluencyCheck | None:
        """The fluency check of the bundle's language; None where captions are not checked."""
        if self.fluency_check is False:
            return None
        check = fluency_check(manifest.language)
        if check is None and self.fluency_check:
            _log.warning("no fluency check is installed for %r: captions are ranked without", manifest.language)
        return check

    def weights(self, manifest: Seq2SeqManifest) -> RerankWeights:
        """The bundle's weights with these changes."""
        return _changed(manifest.rerank, log_likelihood=self.likelihood_weight, similarity=self.similarity_weight)


Section = TypeVar("Section", bound=BaseModel)


def _with_threshold(
    manifest: Seq2SeqManifest, rule: Section | None, chosen: float | None, untold: str
) -> Section | None:
    """A rule of the bundle's, with the user's threshold where one was chosen.

    Raises:
        ConfigError: one was chosen, and the bundle has no such rule; ``untold`` ends the sentence.
    """
    if rule is None:
        if chosen is not None:
            raise ConfigError(f"the bundle {manifest.name} cannot tell {untold}")
        return None
    return _changed(rule, threshold=chosen)


def _changed(section: Section, **changes: object) -> Section:
    """A section of the manifest with other values, None leaving it as it is.

    Raises:
        ConfigError: a value outside its range.
    """
    given = {name: value for name, value in changes.items() if value is not None}
    try:
        return type(section).model_validate({**section.model_dump(), **given})
    except ValidationError as error:
        raise ConfigError(f"unusable choice: {first_complaint(error)}") from error
