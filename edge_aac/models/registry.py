"""The model of a bundle, whatever its kind: kinds are registered, so that a package outside adds one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, cast

from edge_aac.bundle.kinds import model_kind
from edge_aac.bundle.manifest import Manifest
from edge_aac.bundle.store import Bundle
from edge_aac.engines.contract import EngineOptions
from edge_aac.errors import ConfigError
from edge_aac.models.contract import WindowModel


class ModelKind(Protocol):
    """A kind of model, as registered in the entry-point group ``edge_aac.models`` under the name of a kind.

    Attributes:
        manifest: class that ``manifest.json`` of its bundles is validated with, a subclass of
            :class:`edge_aac.bundle.manifest.Manifest`.
        choices: names of the settings in which a user may overrule the bundle.
    """

    @property
    def manifest(self) -> type[Manifest]: ...

    @property
    def choices(self) -> frozenset[str]: ...

    def open(self, bundle: Bundle, options: EngineOptions, choices: Mapping[str, Any]) -> WindowModel:
        """Load the model; only :meth:`edge_aac.bundle.store.Bundle.checked` files and what
        :func:`edge_aac.engines.choice.load_engine` gives are read.

        Args:
            bundle: bundle with a manifest of the kind's class.
            options: backend and threads.
            choices: some of :attr:`choices`, none of them None.

        Raises:
            ConfigError: a choice is unusable.
            InputMissingError, DataError, DeviceError: the bundle cannot be run here.
        """


def open_model(bundle: Bundle, options: EngineOptions, choices: Mapping[str, Any]) -> WindowModel:
    """Load the model of a bundle, whatever its kind, and see that it can do what its manifest says.

    The kinds that come with edge-aac compare the manifest with what its graphs declare and with its tokenizers, and
    describe a trial window, so that what is opened does not fail at its first window.

    Args:
        bundle: bundle that :func:`edge_aac.bundle.store.open_bundle` has opened.
        options: backend and threads.
        choices: the user's choices by name; None keeps the bundle's own.

    Raises:
        ConfigError: a choice is unusable, or none of the bundle's kind.
        InputMissingError, DataError, DeviceError: the bundle cannot be run here.
    """
    given = check_choices(bundle, choices)
    return kind_of(bundle).open(bundle, options, given)


def check_choices(bundle: Bundle, choices: Mapping[str, Any]) -> dict[str, Any]:
    """The choices that a user made, which must mean something to the bundle's kind of model.

    Args:
        bundle: an open bundle.
        choices: the user's choices by name; None is no choice.

    Raises:
        ConfigError: the kind has no such choice.
    """
    given = {name: value for name, value in choices.items() if value is not None}
    if unknown := sorted(set(given) - kind_of(bundle).choices):
        raise ConfigError(
            f"{unknown[0]} means nothing to the bundle {bundle.manifest.name}, whose model is of the kind "
            f"{bundle.manifest.kind!r}: leave it out"
        )
    return given


def kind_of(bundle: Bundle) -> ModelKind:
    """The kind of a bundle's model."""
    return cast(ModelKind, model_kind(bundle.manifest.kind))
