"""What of a window's description may be told, and whether its sound may be kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from edge_aac.errors import ConfigError
from edge_aac.fluency.speech import GROUP, SpeechCheck, speech_check
from edge_aac.models.contract import Description
from edge_aac.streaming.privacy_settings import PrivacySettings, SpeechRule
from edge_aac.streaming.wording import WordPatterns


@dataclass(frozen=True)
class Verdict:
    """What may become of a window's description and sound.

    Attributes:
        published: whether its caption may be told.
        speech: whether its records carry the mark that people talk.
        kept: whether its sound may be in a clip.
    """

    published: bool = True
    speech: bool = False
    kept: bool = True


class PrivacyGate:
    """Judges descriptions by what they tell of.

    Not the best caption alone is looked at but all that the model takes for possible: every text that it drew, and of
    labels that it compares those almost as near as the best.

    Args:
        speech: what is done with captions that tell of people talking.
        tells_of_speech: check of the captions' language; needed unless ``speech`` is "publish".
        suppressed: words whose captions are not told.

    Raises:
        ValueError: there is no check, and ``speech`` needs one.
    """

    def __init__(
        self,
        speech: SpeechRule = "publish",
        tells_of_speech: SpeechCheck | None = None,
        suppressed: WordPatterns | None = None,
    ) -> None:
        if speech != "publish" and tells_of_speech is None:
            raise ValueError(f"speech={speech!r} needs a check of the captions' language")
        self._speech = speech
        self._tells_of_speech = tells_of_speech
        self._suppressed = suppressed or WordPatterns()

    @classmethod
    def of(cls, settings: PrivacySettings, language: Callable[[], str]) -> PrivacyGate:
        """The gate that the settings describe.

        Args:
            settings: the section ``[privacy]``.
            language: gives the language of the captions as a BCP 47 tag; called only where it matters.

        Raises:
            ConfigError: nobody knows which captions of that language tell of speech.
        """
        check = None
        if settings.speech != "publish":
            code = language()
            check = speech_check(code)
            if check is None:
                raise ConfigError(
                    f"privacy.speech is {settings.speech!r}, but no installed package tells which captions in the "
                    f"language {code!r} are of speech ({GROUP}): install one, or set it to 'publish'"
                )
        return cls(settings.speech, check, WordPatterns(settings.suppress))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PrivacyGate) and self._rules == other._rules

    def __hash__(self) -> int:
        return hash(self._rules)

    @property
    def _rules(self) -> tuple[SpeechRule, SpeechCheck | None, WordPatterns]:
        return self._speech, self._tells_of_speech, self._suppressed

    @property
    def withholds(self) -> bool:
        """Whether there is anything whose sound must not be kept."""
        return self._speech != "publish" or bool(self._suppressed)

    def judge(self, description: Description) -> Verdict:
        """What may become of a window with this description.

        Of a window in which the model hears nothing familiar it cannot tell whether people talk: its caption, which
        names nothing, is told, its sound is not kept where speech is to be kept private.
        """
        if not self.withholds:
            return Verdict()
        verdict = self.judge_texts([caption.text for caption in description.possible])
        unknown = not description.familiar and self._tells_of_speech is not None
        return replace(verdict, kept=False) if unknown else verdict

    def judge_texts(self, texts: Sequence[str]) -> Verdict:
        """What may become of sound that one of these texts may tell of."""
        check = self._tells_of_speech
        speech = check is not None and any(check(text) for text in texts)
        suppressed = any(self._suppressed.matches(text) for text in texts)
        return Verdict(
            published=not suppressed and not (speech and self._speech == "suppress"),
            speech=speech,
            kept=not speech and not suppressed,
        )
