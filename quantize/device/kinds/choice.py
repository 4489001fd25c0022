"""Which kinds of models engines are built for."""

from __future__ import annotations

from edge_aac.bundle.manifest import Seq2SeqManifest
from edge_aac.bundle.store import Bundle
from edge_aac.errors import DataError
from edge_aac.models.dual_encoder_manifest import DualEncoderManifest
from edge_aac.models.prompted_manifest import PromptedManifest
from quantize.device.checked_kind import CheckedKind
from quantize.device.kinds.captioners import CheckedCaptioner
from quantize.device.kinds.dual_encoders import CheckedClipEncoder, CheckedDualEncoder
from quantize.device.kinds.prompted import CheckedPrompted


def checked_kind(source: Bundle) -> CheckedKind:
    """How a build sees a bundle's model.

    Raises:
        DataError: engines are built for no model of its kind.
    """
    manifest = source.manifest
    if isinstance(manifest, Seq2SeqManifest):
        return CheckedCaptioner(source)
    if isinstance(manifest, DualEncoderManifest):
        return CheckedDualEncoder(source) if manifest.hears_windows else CheckedClipEncoder(source)
    if isinstance(manifest, PromptedManifest):
        return CheckedPrompted(source)
    raise DataError(f"no engines are built of models of the kind {manifest.kind!r}, as bundle {source.opened_as!r} is")
