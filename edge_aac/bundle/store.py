"""The bundle: a folder with everything that a model needs, and nothing in it is loaded before its hash is checked."""

from __future__ import annotations

import os
import posixpath
import shlex
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import TypeVar

from edge_aac.bundle.hashes import file_sha256, remembered_sha256
from edge_aac.bundle.json_text import shown
from edge_aac.bundle.manifest import MANIFEST, WINDOW_S, BundleFile, Graph, Manifest, read_manifest
from edge_aac.bundle.onnx_file import references
from edge_aac.errors import DataError, EdgeAacError, InputMissingError
from edge_aac.timebase import SAMPLE_RATE

DEFAULT_BUNDLE = "everyday"
ASKED_BUNDLE = "everyday-ask"
"""What `edge-aac ask` asks unless it is told otherwise."""

_PLAN = "tensorrt"  # the backend of files that are no ONNX
ManifestOfKind = TypeVar("ManifestOfKind", bound=Manifest)


class Bundle:
    """A bundle whose manifest was read; a file of it is checked when it is about to be loaded.

    Attributes:
        folder: folder that holds the bundle's files.
        manifest: the bundle's manifest, validated.
        opened_as: the name or path that it was found by; a message that names a command uses it.
    """

    def __init__(self, folder: Path, manifest: Manifest, opened_as: str | None = None) -> None:
        self.folder = folder
        self.manifest = manifest
        self.opened_as = opened_as or str(folder)

    @property
    def build_command(self) -> str:
        """The command that builds this bundle's engines anew."""
        return build_command(self.opened_as)

    def manifest_of(self, kind: type[ManifestOfKind], such_as: str | None = None) -> ManifestOfKind:
        """The manifest, where the bundle is of the kind that a caller works with.

        Args:
            kind: of manifest.
            such_as: name of a bundle of that kind, for those who gave another.

        Raises:
            DataError: it is of another.
        """
        if not isinstance(self.manifest, kind):
            wanted = kind.model_fields["kind"].default
            raise DataError(
                f"bundle {self.opened_as!r} holds a model of the kind {self.manifest.kind!r}, where one of the kind "
                f"{wanted!r} is needed: give another bundle{f', such as {such_as}' if such_as else ''}"
            )
        return self.manifest

    def path(self, file: BundleFile) -> Path:
        """The path of a file of the manifest; :meth:`checked` is for files that are to be loaded."""
        return self.folder / file.file

    def checked(self, file: BundleFile) -> Path:
        """The path of a file whose content has the hash in the manifest; a graph's weights are checked with it.

        Hashes of files that have not changed are remembered from run to run (:mod:`edge_aac.bundle.hashes`).

        Raises:
            InputMissingError: it is not there, or cannot be read.
            DataError: it is another file than the manifest means, or a graph that takes weights from a file that the
                manifest does not name with it, so that nothing vouches for them.
        """
        for part in (file, *(file.external_data if isinstance(file, Graph) else ())):
            if complaint := fault(self, part, remembered_sha256):
                raise complaint
        if isinstance(file, Graph) and file.backend != _PLAN:
            self._check_references(file)
        return self.path(file)

    def _check_references(self, graph: Graph) -> None:
        named = {file.file for file in graph.external_data}
        found = {posixpath.normpath(location) for location in references(self.path(graph))}
        if unnamed := sorted(found - named):
            raise DataError(
                f"{self.path(graph)} takes weights from the file {shown(unnamed[0])}, which external_data in the "
                f"bundle's {MANIFEST} does not name with it: {_mend(self, graph)}"
            )

    def size(self, graph: Graph) -> int:
        """Bytes of a graph with its weights."""
        return sum(self.path(file).stat().st_size for file in (graph, *graph.external_data))


def user_bundles_folder() -> Path:
    """Where `edge-aac pull` puts bundles: ``$XDG_DATA_HOME`` or ``~/.local/share``, then ``edge-aac/bundles``.

    Raises:
        InputMissingError: this user has no home.
    """
    try:
        root = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    except RuntimeError as error:
        raise InputMissingError("this user has no home folder for bundles: set XDG_DATA_HOME") from error
    return root / "edge-aac" / "bundles"


def built_in_bundles() -> dict[str, Path]:
    """Name → folder of the bundles that come with the package."""
    return _bundles_in(Path(str(resources.files("edge_aac") / "bundles")))


def pulled_bundles() -> dict[str, Path]:
    """Name → folder of the bundles that this user pulled; none where there is no home, or one that is closed."""
    try:
        return _bundles_in(user_bundles_folder())
    except (InputMissingError, OSError):
        return {}


def _bundles_in(root: Path) -> dict[str, Path]:
    return {manifest.parent.name: manifest.parent for manifest in sorted(root.glob(f"[!.]*/{MANIFEST}"))}


def build_command(name_or_path: str) -> str:
    """The command that makes a bundle's engines anew."""
    return f"edge-aac build-engine --bundle {shlex.quote(name_or_path)}"


def open_bundle(name_or_path: str) -> Bundle:
    """Find a bundle by the name of a built-in or pulled one or the path of a folder, and see that its files are there.

    Of a built-in bundle the user's own build is taken where there is one. No file but the manifest is read: what a
    model loads is checked as it is loaded (:meth:`Bundle.checked`), everything by :func:`check_all`.

    Raises:
        InputMissingError: there is no such bundle, or a file of it is missing.
        DataError: its manifest is not one this version understands, or the user's own build is of another version than
            the built-in bundle.
    """
    bundle = read_bundle(find_bundle(name_or_path), name_or_path)
    for file in bundle.manifest.files():
        if complaint := _missing(bundle, file):
            if read_bundle(bundle.folder, name_or_path).manifest != bundle.manifest:
                return open_bundle(name_or_path)  # a build has replaced files since the manifest was read
            raise complaint
    for graph in bundle.manifest.orphans():
        raise DataError(
            f"{bundle.path(graph)} was made from another graph than the bundle holds now: run `{bundle.build_command}`"
        )
    return bundle


def check_all(bundle: Bundle) -> None:
    """Hash every file of a bundle from its bytes, also forms that this machine never loads.

    Raises:
        InputMissingError: a file is missing, or cannot be read.
        DataError: a file is another one than the manifest means.
    """
    for file in bundle.manifest.files():
        if complaint := fault(bundle, file):
            raise complaint


def find_bundle(name_or_path: str) -> Path:
    """The folder of a bundle; of a built-in one the user's own build where there is one.

    Raises:
        InputMissingError: there is no such bundle, or it cannot be read.
        DataError: the user's own build cannot be understood, or is of another version than the built-in bundle.
    """
    built_in, own = built_in_bundles(), pulled_bundles()
    if name_or_path in built_in and name_or_path in own and _is_build_of(own[name_or_path], built_in[name_or_path]):
        return own[name_or_path]
    known = {**own, **built_in}
    folder = known.get(name_or_path, Path(name_or_path))
    if not _is_file(folder / MANIFEST):
        several = ", and one bundle is wanted here, not a list" if "," in name_or_path else ""
        raise InputMissingError(
            f"no bundle {name_or_path!r}{several}: give a folder that holds a {MANIFEST}, or one of "
            f"{', '.join(sorted(known))}"
        )
    return folder


def _is_build_of(folder: Path, built_in: Path) -> bool:
    """Whether `edge-aac build-engine` made a bundle of the user's, which stands before the built-in one of its name.

    Raises:
        DataError: it made it of another version, or the manifest cannot be understood.
    """
    name = built_in.name
    try:
        own = read_bundle(folder, name).manifest
    except DataError as error:
        raise DataError(f"{folder} stands before the built-in {name}, but {error}; or move it away") from error
    if not any(form.parent_sha256 for forms in own.graphs.values() for form in forms):
        return False
    if own.exported() != read_bundle(built_in, name).manifest.exported():
        raise DataError(
            f"{folder} was built from another {name} than is installed now: run `{build_command(name)}`, or give the "
            "folder itself to use it as it is"
        )
    return True


def read_bundle(folder: Path, opened_as: str) -> Bundle:
    """A bundle of which only the manifest was read yet.

    Raises:
        InputMissingError: it cannot be read.
        DataError: it is none that this version understands, or of windows of another kind.
    """
    try:
        manifest = read_manifest(folder / MANIFEST)
    except OSError as error:
        raise InputMissingError(f"bundle {opened_as!r} cannot be read ({error}): correct its permissions") from error
    if manifest.hears_windows and (manifest.sample_rate, manifest.window_s) != (SAMPLE_RATE, WINDOW_S):
        raise DataError(
            f"bundle {opened_as!r} hears {manifest.window_s:g} s at {manifest.sample_rate} Hz, this edge-aac gives "
            f"{WINDOW_S:g} s at {SAMPLE_RATE} Hz: export it for these"
        )
    return Bundle(folder, manifest, opened_as)


def fault(bundle: Bundle, file: BundleFile, sha256_of: Callable[[Path], str] = file_sha256) -> EdgeAacError | None:
    """What is wrong with a file of a bundle, and what mends it; None where it is the one that the manifest means.

    Args:
        bundle: bundle that has the file in its manifest.
        file: the one to look at; of a graph its weights are files of their own.
        sha256_of: function that hashes a file; by default it reads the bytes and ignores remembered hashes.
    """
    if complaint := _missing(bundle, file):
        return complaint
    path = bundle.path(file)
    try:
        if sha256_of(path) != file.sha256:
            return DataError(
                f"{path} is not the file that the bundle's manifest vouches for (its SHA-256 differs): "
                f"{_mend(bundle, file)}"
            )
    except OSError as error:
        return InputMissingError(f"bundle {bundle.opened_as!r} cannot be read ({error}): correct its permissions")
    return None


def _missing(bundle: Bundle, file: BundleFile) -> EdgeAacError | None:
    """Why a file of a bundle is not there, and what mends it; None where it is there, whatever it holds."""
    try:
        if bundle.path(file).is_file():
            return None
    except OSError as error:
        return InputMissingError(f"bundle {bundle.opened_as!r} cannot be read ({error}): correct its permissions")
    return InputMissingError(f"bundle {bundle.opened_as!r} lacks its file {file.file}: {_mend(bundle, file)}")


def _mend(bundle: Bundle, file: BundleFile) -> str:
    return f"run `{bundle.build_command}`" if _is_built(bundle, file) else "install or build the bundle again"


def _is_built(bundle: Bundle, file: BundleFile) -> bool:
    """Whether `edge-aac build-engine` wrote a file, or a user's whole bundle, so that it can write it again."""
    if bundle.folder == pulled_bundles().get(bundle.opened_as) and bundle.opened_as in built_in_bundles():
        return True
    graphs = [graph for forms in bundle.manifest.graphs.values() for graph in forms if graph.parent_sha256]
    return any(file in (graph, *graph.external_data) for graph in graphs)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError as error:
        raise InputMissingError(f"{path} cannot be read ({error}): correct its permissions") from error
