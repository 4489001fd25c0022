"""Opens what a user names: the model of one bundle, or the ensemble of several that fit together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

from edge_aac.bundle.manifest import Seq2SeqManifest
from edge_aac.bundle.names import bundle_names
from edge_aac.bundle.store import ASKED_BUNDLE, Bundle, open_bundle
from edge_aac.engines.contract import EngineOptions
from edge_aac.errors import ConfigError, DataError, InputMissingError
from edge_aac.models.choices import Choices
from edge_aac.models.clip_windows import ClipWindows
from edge_aac.models.contract import WindowModel
from edge_aac.models.dual_encoder_manifest import DualEncoderManifest
from edge_aac.models.registry import check_choices, kind_of, open_model
from edge_aac.models.seq2seq import Captioner, special_tokens

if TYPE_CHECKING:
    from edge_aac.models.ensemble import Ensemble

CaptioningModel: TypeAlias = "Captioner | Ensemble"
"""A model that generates captions, of one bundle or of several."""


def open_named(
    names: str, weights: Sequence[float] | None, options: EngineOptions, choices: Mapping[str, Any]
) -> WindowModel:
    """The model that a user names.

    Args:
        names: name or path of a bundle, of any kind; or several with commas, of the kind seq2seq.
        weights: one a bundle, in order; None weighs all alike.
        options: backend and threads.
        choices: the user's choices by name; None keeps the bundle's own.

    Raises:
        EdgeAacError: as :func:`edge_aac.models.registry.open_model` and :func:`open_ensemble`.
    """
    listed = bundle_names(names)
    weights = checked_weights(listed, weights)
    bundles = [open_bundle(name) for name in listed]
    if len(bundles) == 1:
        manifest = bundles[0].manifest
        if isinstance(manifest, DualEncoderManifest) and not manifest.hears_windows:
            return ClipWindows(bundles[0], options, choices)
        return open_model(bundles[0], options, choices)
    for bundle in bundles:
        check_choices(bundle, choices)
    given = {name: value for name, value in choices.items() if value is not None}
    candidates = given.pop("candidates", None)
    return open_ensemble(bundles, weights, options, candidates, Choices(**given))


def open_asked(
    names: str,
    weights: Sequence[float] | None,
    options: EngineOptions,
    choices: Mapping[str, Any],
    ask_bundle: str,
) -> WindowModel:
    """As :func:`open_named`; questions that mean nothing to what is named are put to another bundle.

    Args:
        names, weights, options: as for :func:`open_named`.
        choices: as there; ``ask`` are the questions.
        ask_bundle: bundle of the kind prompted; it is opened only where it is asked.

    Raises:
        ConfigError: a question cannot be asked, or the two bundles are of different languages.
        EdgeAacError: as :func:`open_named`.
    """
    if choices.get("ask") is None or takes_choice(names, "ask"):
        return open_named(names, weights, options, choices)
    from edge_aac.models.asked_beside import asked_beside  # here alone: a stream that asks nothing does without
    from edge_aac.models.prompted import Prompted

    asked = Prompted(open_ask_bundle(ask_bundle), options, {"ask": choices["ask"]})
    captioner = open_named(names, weights, options, {**choices, "ask": None})
    return asked_beside(captioner, asked)


def open_ask_bundle(name: str) -> Bundle:
    """The bundle that is asked in place of the captioner's; errors say so, for the two may have the same name.

    Raises:
        InputMissingError, DataError: it is not there, cannot be understood, or is of no kind that is asked.
    """
    from edge_aac.models.prompted_manifest import PromptedManifest  # here alone: as in open_asked

    try:
        bundle = open_bundle(name)
        bundle.manifest_of(PromptedManifest, ASKED_BUNDLE)
    except (DataError, InputMissingError) as error:
        raise type(error)(f"ask_bundle: {error}") from error
    return bundle


def takes_choice(names: str, choice: str) -> bool:
    """Whether a choice means anything to the bundle that a user names; to none of several.

    Raises:
        EdgeAacError: there is no such bundle, or it cannot be understood.
    """
    listed = bundle_names(names)
    return len(listed) == 1 and choice in kind_of(open_bundle(listed[0])).choices


def open_captioning(
    names: str,
    weights: Sequence[float] | None = None,
    options: EngineOptions | None = None,
    candidates: int | None = None,
    choices: Choices | None = None,
) -> CaptioningModel:
    """The captioner of a bundle of the kind seq2seq, or the ensemble of several.

    Args:
        names: as for :func:`open_named`.
        weights: one a bundle; None weighs all alike.
        options, candidates, choices: arguments of :class:`edge_aac.models.seq2seq.Captioner`.

    Raises:
        EdgeAacError: as :func:`open_named`.
    """
    listed = bundle_names(names)
    weights = checked_weights(listed, weights)
    if len(listed) == 1:
        return Captioner.open(names, options, candidates, choices)
    return open_ensemble([open_bundle(name) for name in listed], weights, options, candidates, choices)


def checked_weights(names: Sequence[str], weights: Sequence[float] | None) -> Sequence[float]:
    """The weights of bundles; all alike where none are given.

    Raises:
        ConfigError: there are more or fewer than bundles.
    """
    if weights is None:
        return [1.0] * len(names)
    if len(weights) != len(names):
        listed = ", ".join(f"{weight:g}" for weight in weights)
        raise ConfigError(
            f"there are {len(weights)} weights ({listed}) for {len(names)} bundles ({', '.join(names)}): give each "
            "bundle its weight, in order"
        )
    return weights


def open_ensemble(
    bundles: Sequence[Bundle],
    weights: Sequence[float],
    options: EngineOptions | None = None,
    candidates: int | None = None,
    choices: Choices | None = None,
) -> Ensemble:
    """The ensemble of several bundles, loaded and tried out; the same bundle may be in it twice.

    The rules of decoding are those of the first bundle with the user's choices. Each bundle keeps its own weights of
    log-likelihood and similarity, where the user has chosen none.

    Args:
        bundles: at least one, of the kind seq2seq.
        weights: positive, one a bundle; they need not add up to 1.
        options, candidates, choices: arguments of :class:`edge_aac.models.seq2seq.Captioner`, for all of them.

    Raises:
        DataError: the bundles do not fit together: they are of another kind, of several languages, or number tokens
            differently.
        EdgeAacError: one of the bundles cannot be opened.
    """
    choices = choices or Choices()
    _check_manifests(bundles)
    first = bundles[0].manifest_of(Seq2SeqManifest)
    members: list[Captioner] = []
    for bundle in bundles:
        try:
            own = _thresholds_of(bundle, bundles, choices)
            members.append(Captioner(_decoding_as(bundle, first), options, candidates, own))
        except ConfigError as error:
            raise ConfigError(f"bundle {bundle.opened_as!r} of the ensemble: {error}") from error
        _check_tokenizers(members[0], members[-1])
    from edge_aac.models.ensemble import Ensemble  # here alone: a stream of one bundle does without

    ensemble = Ensemble(members, weights)
    ensemble.try_out()
    return ensemble


def _thresholds_of(bundle: Bundle, bundles: Sequence[Bundle], choices: Choices) -> Choices:
    """The choices without those thresholds that are for other members alone, as long as there is such a member."""
    manifest, *others = [one.manifest_of(Seq2SeqManifest) for one in (bundle, *bundles)]
    if manifest.familiarity is None and any(other.familiarity for other in others):
        choices = replace(choices, min_familiarity=None)
    if manifest.sureness is None and any(other.sureness for other in others):
        choices = replace(choices, min_confidence=None)
    return choices


def _decoding_as(bundle: Bundle, first: Seq2SeqManifest) -> Bundle:
    """A bundle that decodes by the rules of another one, as far as its own positions reach."""
    manifest = bundle.manifest_of(Seq2SeqManifest)
    rules = first.decoding.model_copy(update={"max_positions": manifest.decoding.max_positions})
    return Bundle(bundle.folder, manifest.model_copy(update={"decoding": rules}), bundle.opened_as)


def _check_manifests(bundles: Sequence[Bundle]) -> None:
    """Refuse bundles whose manifests say that they cannot write one caption together; see :func:`open_ensemble`."""
    first, *others = [bundle.manifest_of(Seq2SeqManifest) for bundle in bundles]
    for bundle, manifest in zip(bundles[1:], others, strict=True):
        if manifest.language.lower() != first.language.lower():
            raise DataError(
                f"the bundles {_pair(bundles[0], bundle)} write captions in {first.language!r} and "
                f"{manifest.language!r}: an ensemble needs one language"
            )
        if manifest.vocabulary_size != first.vocabulary_size:
            raise DataError(
                f"the bundles {_pair(bundles[0], bundle)} have vocabularies of {first.vocabulary_size} and "
                f"{manifest.vocabulary_size} tokens: an ensemble needs bundles of one vocabulary"
            )
        own = special_tokens(manifest.decoding)
        for name, token_id in special_tokens(first.decoding).items():
            if own[name] != token_id:
                raise DataError(
                    f"the bundles {_pair(bundles[0], bundle)} have {token_id} and {own[name]} for decoding.{name}: an "
                    "ensemble needs bundles of one vocabulary"
                )


def _check_tokenizers(first: Captioner, other: Captioner) -> None:
    """Refuse tokenizers that number the tokens differently."""
    one, two = (each.tokenizer.get_vocab(with_added_tokens=True) for each in (first, other))
    if one == two:
        return
    token = min((token for token in one.keys() | two.keys() if one.get(token) != two.get(token)), key=str)
    raise DataError(
        f"the bundles {_pair(first.bundle, other.bundle)} have different vocabularies (the token {token!r} is "
        f"{_number(one.get(token))} and {_number(two.get(token))}): an ensemble needs bundles of one vocabulary"
    )


def _number(token_id: int | None) -> str:
    return "none" if token_id is None else f"number {token_id}"


def _pair(first: Bundle, other: Bundle) -> str:
    return f"{first.opened_as!r} and {other.opened_as!r}"
