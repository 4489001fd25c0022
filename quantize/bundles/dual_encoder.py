"""A bundle that ranks labels ("dual_encoder") from one that writes captions: its embedders share a space already."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from edge_aac.bundle.manifest import SCHEMA, Graph, Seq2SeqManifest
from edge_aac.bundle.store import Bundle, check_all, read_bundle
from edge_aac.errors import DataError
from edge_aac.models.dual_encoder_manifest import DUAL_ENCODER, DualEncoderManifest
from quantize.bundles.bundle_writer import write_manifest
from quantize.bundles.staging import staged_bundle
from quantize.files import ATTRIBUTIONS


def write_dual_encoder(source: Bundle, output: Path, name: str, labels: Sequence[str], prompt: str = "{}") -> Path:
    """Write a bundle of the kind "dual_encoder" with the graphs, weights and text tokenizer of a captioner's bundle.

    Only forms that were exported are taken: `edge-aac build-engine` makes others of the new bundle itself. Nothing is
    measured, so that ``quality`` is empty.

    Args:
        source: of the kind "seq2seq", with similarity as a part of its ranking.
        output: folder of the new bundle.
        name: of the new bundle.
        labels: what can be heard, in words that the text embedder knows.
        prompt: makes a text of a label, which takes the place of ``{}``.

    Raises:
        DataError: the source is of another kind or damaged, its texts and sounds do not share a space, or labels and
            prompt make no manifest.
        InputMissingError: a file of the source is missing.
        DeviceError: the output cannot be written.
    """
    manifest = source.manifest_of(Seq2SeqManifest)
    check_all(source)
    if not manifest.rerank.similarity:
        raise DataError(f"bundle {source.opened_as!r} does not compare texts with sounds: give another bundle")
    graphs: dict[str, list[Graph]] = {
        role: [form for form in manifest.graphs.get(role, []) if not form.parent_sha256]
        for role in sorted(DualEncoderManifest.roles & manifest.graphs.keys())
    }
    table = {
        "schema": SCHEMA,
        "kind": DUAL_ENCODER,
        "name": name,
        "version": manifest.version,
        "license": manifest.license,
        "attributions": manifest.attributions,
        "language": manifest.language,
        "sample_rate": manifest.sample_rate,
        "window_s": manifest.window_s,
        "same_similarity": manifest.same_similarity,
        "labels": list(labels),
        "prompt": prompt,
        "embedding_size": manifest.embedding_size,
        "instruction": manifest.instruction,
        "text_tokenizer": manifest.tokenizers.text.model_dump(),
        "graphs": {role: [form.model_dump(mode="json") for form in forms] for role, forms in graphs.items()},
        "quality": {},
        **({"patches": manifest.patches.model_dump()} if manifest.patches else {}),
    }
    with staged_bundle(output) as folder:
        write_manifest(folder, table)
        made = read_bundle(folder, name)
        for file in made.manifest.files():
            shutil.copyfile(source.path(file), made.path(file))
        if (source.folder / ATTRIBUTIONS).is_file():
            shutil.copyfile(source.folder / ATTRIBUTIONS, folder / ATTRIBUTIONS)
        check_all(made)
    return output
