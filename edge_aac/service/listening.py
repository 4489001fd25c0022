"""When a stream says that it listens: when sound is kept.

What is captured waits in each source's ring, thirty seconds of a live one (:mod:`edge_aac.audio.ring`), and a window is
due after ten. So where a model is open long before that, sources are captured first, and nothing that is heard while it
is opened is lost. The service manager is told that the service is *ready* only when the model is open, too.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from edge_aac import records
from edge_aac.audio.sources.address import Source
from edge_aac.audio.windows import Window
from edge_aac.bundle.manifest import Seq2SeqManifest
from edge_aac.bundle.names import bundle_names
from edge_aac.bundle.store import open_bundle
from edge_aac.engines.contract import ONNX_RUNTIME
from edge_aac.errors import DataError
from edge_aac.models.contract import Description, identity_of, not_cancelled
from edge_aac.models.settings import CaptionerSettings
from edge_aac.service.notify import ServiceManager

SOON_BYTES = 64_000_000
"""A model whose graphs are no larger is open within seconds, from a slow card on a slow board, too."""

_NEVER_REFUSED = {"bundle", "threads", "seed"}

log = logging.getLogger(__name__)


class ModelToCome:
    """Stands in a session where the model will, while that is opened: sources are captured, nothing is described.

    Args:
        manifest: of the bundle; its model hears frames, as this one says.
    """

    language = "und"

    def __init__(self, manifest: Seq2SeqManifest) -> None:
        self.identity: records.Model = identity_of(manifest, manifest.graphs["encoder"][0])
        self.same_similarity = manifest.same_similarity

    def describe(
        self,
        windows: Sequence[Window],
        rngs: Sequence[np.random.Generator],
        cancelled: Callable[[], bool] = not_cancelled,
    ) -> list[Description | DataError]:
        """See :class:`edge_aac.models.contract.WindowModel`; a session is not run before it has its model."""
        raise RuntimeError("the model is not open yet")

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """See :class:`edge_aac.models.contract.WindowModel`."""
        raise RuntimeError("the model is not open yet")


def model_to_come(settings: CaptionerSettings) -> ModelToCome | None:
    """What stands for the model while it is opened; None where sources must not be captured before it is open.

    They must not where that may take its time: of an ensemble, with engines for an accelerator, of a large bundle; nor
    of a kind that may hear windows otherwise; nor where choices were made that the bundle may refuse, for these are
    refused before anything is heard.

    Raises:
        EdgeAacError: the bundle is not there, or its manifest cannot be understood.
    """
    names = bundle_names(settings.bundle)
    if len(names) > 1 or settings.model_dump(exclude=_NEVER_REFUSED, exclude_defaults=True):
        return None
    bundle = open_bundle(names[0])
    forms = [form for of_role in bundle.manifest.graphs.values() for form in of_role]
    if any(form.backend != ONNX_RUNTIME for form in forms) or sum(map(bundle.size, forms)) > SOON_BYTES:
        return None
    return ModelToCome(bundle.manifest) if isinstance(bundle.manifest, Seq2SeqManifest) else None


def tell_listening(manager: ServiceManager, sources: Sequence[Source], looked_at: Sequence[str], bundle: str) -> None:
    """Say what is listened to, where there is anything: there is nothing where a stream was stopped meanwhile.

    Args:
        manager: is told of those sources alone that give sound now: the others wait for their devices.
        sources: opened.
        looked_at: addresses at which sources are discovered.
        bundle: name of the bundle, or of several.
    """
    labels = [*(source.label for source in sources), *(f"what is found at {label}" for label in looked_at)]
    if labels:
        log.info("listening to %s with bundle %s", ", ".join(map(records.as_text, labels)), bundle)
    if heard := [records.as_text(source.label) for source in sources if source.state == "listening"]:
        manager.status(f"listening to {', '.join(heard)}")
