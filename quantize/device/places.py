"""What a build starts from, and which folder it may write."""

from __future__ import annotations

import os
from pathlib import Path

from edge_aac.bundle.manifest import Graph, GraphRole
from edge_aac.bundle.store import (
    Bundle,
    built_in_bundles,
    fault,
    find_bundle,
    pulled_bundles,
    read_bundle,
    user_bundles_folder,
)
from edge_aac.engines.contract import ONNX_RUNTIME
from edge_aac.errors import DataError, EdgeAacError
from quantize.files import bundle_at


def open_for_build(name_or_path: str) -> Bundle:
    """The bundle to build engines from: what was exported is checked, built forms that are broken are left out.

    Of a built-in bundle the user's own build is taken, or where that is unusable the built-in one.

    Raises:
        InputMissingError, DataError: see :func:`edge_aac.bundle.store.open_bundle`.
    """
    built_in = built_in_bundles().get(name_or_path)
    try:
        return _sound(read_bundle(find_bundle(name_or_path), name_or_path))
    except EdgeAacError:
        if built_in is None or name_or_path not in pulled_bundles():
            raise
        return _sound(read_bundle(built_in, name_or_path))


def _sound(bundle: Bundle) -> Bundle:
    """The bundle without the built forms that cannot be used.

    Raises:
        InputMissingError, DataError: a file that no build can write again is missing or another one.
    """
    manifest = bundle.manifest
    built = {role: built_forms(bundle, role) for role in manifest.graphs}
    exported = {role: [form for form in forms if not form.parent_sha256] for role, forms in manifest.graphs.items()}
    for file in manifest.model_copy(update={"graphs": exported}).files():
        if complaint := fault(bundle, file):
            raise complaint
    graphs = {
        role: [form for form in forms if form in exported[role] or form in built[role]]
        for role, forms in manifest.graphs.items()
    }
    return Bundle(bundle.folder, manifest.model_copy(update={"graphs": graphs}), bundle.opened_as)


def parent_of(source: Bundle, role: GraphRole) -> Graph:
    """The exported fp32 form of a graph, which other forms are made from.

    Raises:
        DataError: the bundle holds none.
    """
    for form in source.manifest.graphs[role]:
        if not form.parent_sha256 and (form.backend, form.precision) == (ONNX_RUNTIME, "fp32"):
            return form
    raise DataError(f"bundle {source.opened_as!r} holds no fp32 graph of its {role}: export it again")


def built_forms(bundle: Bundle, role: GraphRole) -> list[Graph]:
    """Forms of a graph that `edge-aac build-engine` made, as far as they are whole."""
    orphans = bundle.manifest.orphans()
    return [
        form
        for form in bundle.manifest.graphs.get(role, [])
        if form.parent_sha256
        and form not in orphans
        and not any(fault(bundle, file) for file in (form, *form.external_data))
    ]


def output_folder(bundle: Bundle, output: Path | None) -> Path:
    """Where to write: as asked for; else the bundle's own folder, or among the user's where that is not to be written.

    Raises:
        DataError: something stands there that no build may replace.
        InputMissingError: this user has no folder for bundles.
    """
    own = bundle.folder.resolve()
    if output is None:
        installed = {folder.resolve() for folder in built_in_bundles().values()}
        writable = own not in installed and os.access(own, os.W_OK | os.X_OK)
        output = own if writable else user_bundles_folder() / own.name
    output = output.resolve()
    if output != own:
        _check_replaceable(bundle, output)
    return output


def _check_replaceable(bundle: Bundle, output: Path) -> None:
    if not bundle_at(output):
        return
    if bundle.opened_as in built_in_bundles() and output == (user_bundles_folder() / bundle.opened_as).resolve():
        _check_is_a_build(bundle, output)
    elif read_bundle(output, str(output)).manifest.exported() != bundle.manifest.exported():
        raise DataError(f"{output} holds another bundle: give another folder with --output")


def _check_is_a_build(bundle: Bundle, output: Path) -> None:
    """A user's build of a built-in bundle may be replaced, but not one that was trained and only bears its name."""
    try:
        present = read_bundle(output, str(output)).manifest
    except DataError:
        raise DataError(f"{output} holds a bundle that cannot be read: move it away, then build again") from None
    built = any(form.parent_sha256 for forms in present.graphs.values() for form in forms)
    if not built and present.exported() != bundle.manifest.exported():
        raise DataError(f"{output} holds a bundle that no build has made: move it away, or give another --output")
