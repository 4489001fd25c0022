"""Where built engines go: all of them together with the manifest that names them, or none."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from edge_aac.bundle.hashes import file_sha256
from edge_aac.bundle.manifest import MANIFEST, BundleFile, Graph, GraphRole, Manifest
from edge_aac.bundle.store import Bundle, fault, read_bundle
from edge_aac.errors import DataError, DeviceError
from quantize.device.places import built_forms
from quantize.files import ATTRIBUTIONS, CARD, SCRATCH_PREFIX

_PLACING = "placing.json"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class BuildStore:
    """The folder that a build writes, held by one build at a time.

    Attributes:
        source: the bundle that is built from.
        folder: folder that the built forms go to.
        scratch: folder on the same file system that forms are made in; removed at the end.
    """

    def __init__(self, source: Bundle, folder: Path, scratch: Path) -> None:
        self.source = source
        self.folder = folder
        self.scratch = scratch
        self._before = _manifest_bytes(folder)
        self._present = read_bundle(folder, str(folder)) if self._before else None
        files = self._present.manifest.files() if self._present else []
        self._whole = {(file.file, file.sha256) for file in files if self._present and not fault(self._present, file)}

    def kept(self, role: GraphRole) -> list[Graph]:
        """Forms of a graph from earlier builds, whole and of the same parents."""
        present = self._present
        if present and present.manifest.exported() == self.source.manifest.exported():
            return built_forms(present, role)
        return built_forms(self.source, role)

    def new_file(self, stem: str, suffix: str) -> Path:
        """A place in the scratch folder under a name that the bundle can keep it by: none of its files bears it."""
        number = 1
        while True:
            name = f"{stem}{suffix}" if number == 1 else f"{stem}.{number}{suffix}"
            places = (self.folder, self.scratch, self.source.folder)
            if not any((place / taken).exists() for place in places for taken in (name, f"{name}.data")):
                return self.scratch / name
            number += 1

    def locate(self, file: BundleFile) -> Path:
        """Where a file lies now: in the scratch folder, the output, or the source."""
        if (self.scratch / file.file).is_file():
            return self.scratch / file.file
        if (file.file, file.sha256) in self._whole:
            return self.folder / file.file
        return self.source.path(file)

    def discard(self, graph: Graph) -> None:
        """Make room: a graph that was refused goes from the scratch folder, and its name may be given again."""
        _remove(self.scratch, {graph.file, *(weights.file for weights in graph.external_data)})

    def bundle(self, graphs: Mapping[GraphRole, Sequence[Graph]]) -> Bundle:
        """The source with its graphs in other forms, wherever their files lie now."""
        return _Staged(self, graphs)

    def holds(self, manifest: Manifest) -> bool:
        """Whether the folder's bundle, or the source where that is none yet, is this already."""
        return manifest == (self._present or self.source).manifest

    def commit(self, manifest: Manifest) -> None:
        """Put the files of a manifest and then itself into the folder; what it does not name any more is removed.

        Until the manifest is in its place, which is one step, the folder's bundle is the old one.

        Raises:
            DeviceError: the folder's bundle was changed by something else in the meantime.
        """
        table = manifest.model_dump(mode="json", by_alias=True, exclude_unset=True)
        if self._before != _manifest_bytes(self.folder):
            raise DeviceError(f"{self.folder} was changed while engines were built for it: build them again")
        placed = self._stage(manifest, table)
        # What a killed build may leave without a manifest that names it.
        _write(self.scratch / _PLACING, json.dumps([*placed, *self._old_names()]))
        for name in placed:
            os.replace(self.scratch / name, self.folder / name)
        for name in (CARD, ATTRIBUTIONS):
            if (self.scratch / name).is_file():
                os.replace(self.scratch / name, self.folder / name)
        _write(self.scratch / MANIFEST, json.dumps(table, indent=1) + "\n")
        os.replace(self.scratch / MANIFEST, self.folder / MANIFEST)
        _sync_folder(self.folder)
        _remove(self.folder, self._old_names() - _names_of(table))

    def _stage(self, manifest: Manifest, table: dict[str, object]) -> list[str]:
        """Names in the scratch folder that are to be placed; a copied file whose name is taken gets another."""
        names = []
        for file in manifest.files():
            path = self.locate(file)
            if path == self.folder / file.file:
                continue
            if path.parent != self.scratch:
                path = self._copied(file, path, table)
            _sync(path)
            names.append(path.name)
        if self.source.folder.resolve() != self.folder:
            for name in (CARD, ATTRIBUTIONS):
                if (self.source.folder / name).is_file():
                    shutil.copyfile(self.source.folder / name, self.scratch / name)
        return list(dict.fromkeys(names))

    def _copied(self, file: BundleFile, path: Path, table: dict[str, object]) -> Path:
        name = file.file
        if (self.folder / name).exists():
            if file in self._tied_to_their_names():
                raise DataError(f"{self.folder / name} stands in the way: give another folder with --output")
            stem, dot, suffix = name.partition(".")
            name = f"{stem}.{file.sha256[:8]}{dot}{suffix}"
            _rename_in(table, file, name)
        shutil.copyfile(path, self.scratch / name)
        if file_sha256(self.scratch / name) != file.sha256:
            raise DataError(f"{path} has changed while it was copied: build the engines again")
        return self.scratch / name

    def _tied_to_their_names(self) -> list[BundleFile]:
        """A graph with its weights beside it names their file within."""
        graphs = [graph for forms in self.source.manifest.graphs.values() for graph in forms if graph.external_data]
        return [file for graph in graphs for file in (graph, *graph.external_data)]

    def _old_names(self) -> set[str]:
        return {file.file for file in self._present.manifest.files()} if self._present else set()


class _Staged(Bundle):
    def __init__(self, store: BuildStore, graphs: Mapping[GraphRole, Sequence[Graph]]) -> None:
        manifest = store.source.manifest
        changed = {**manifest.graphs, **{role: list(forms) for role, forms in graphs.items()}}
        super().__init__(store.folder, manifest.model_copy(update={"graphs": changed}), store.source.opened_as)
        self._store = store

    def path(self, file: BundleFile) -> Path:
        return self._store.locate(file)


@contextmanager
def build_store(source: Bundle, folder: Path, needed_bytes: int) -> Iterator[BuildStore]:
    """Hold the output folder for one build.

    Args:
        source: the bundle to build from, as given by :func:`quantize.device.places.open_for_build`.
        folder: the folder to write, from :func:`quantize.device.places.output_folder`; made if missing.
        needed_bytes: most bytes that the build may take on the disk.

    Raises:
        DeviceError: the folder cannot be written, another build holds it, or the disk has too little room.
    """
    made = not folder.exists()
    with ExitStack() as stack:
        try:
            stack.enter_context(_held(folder))
            if made:
                stack.callback(_remove_if_empty, folder)
            _sweep(folder)
            check_room(folder, needed_bytes)
            scratch = stack.enter_context(tempfile.TemporaryDirectory(dir=folder, prefix=SCRATCH_PREFIX))
        except OSError as error:
            raise DeviceError(f"cannot write in {folder} ({error.strerror}): give another --output") from error
        try:
            yield BuildStore(source, folder, Path(scratch))
        except OSError as error:
            if error.errno not in _FULL:
                raise
            raise DeviceError(f"no room for the engines in {folder}: make some, or give another --output") from error


def check_room(folder: Path, needed_bytes: int) -> None:
    """Refuse to begin what cannot end.

    Raises:
        DeviceError: the folder's disk has less room than needed.
    """
    free = shutil.disk_usage(folder).free
    if needed_bytes > free:
        raise DeviceError(
            f"the engines need up to {needed_bytes / 1e6:.0f} MB in {folder}, but {free / 1e6:.0f} MB are free there: "
            "make room, or give a folder on a larger disk with --output"
        )


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """A lock on the folder itself: it needs no file, and goes with the process that holds it."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise DeviceError(
                    f"another build-engine is at work in {folder}: wait until it has ended, or give another --output"
                ) from None
            if _is_at(descriptor, folder):
                yield
                return
        finally:
            os.close(descriptor)


def _is_at(descriptor: int, folder: Path) -> bool:
    """Whether the folder that was opened still stands there: another build may have removed an empty one."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(folder))
    except FileNotFoundError:
        return False


def _sweep(folder: Path) -> None:
    """Remove what a killed build left behind: its scratch folder, and files that it placed but no manifest names."""
    wanted = _names_of(json.loads(before)) if (before := _manifest_bytes(folder)) else set()
    for scratch in folder.glob(f"{SCRATCH_PREFIX}*"):
        placing = scratch / _PLACING
        if placing.is_file():
            with suppress(ValueError):  # killed while it was written: nothing was placed yet
                _remove(folder, set(json.loads(placing.read_text(encoding="utf-8"))) - wanted)
        shutil.rmtree(scratch)


def _remove(folder: Path, names: set[str]) -> None:
    for name in names:
        (folder / name).unlink(missing_ok=True)


def _remove_if_empty(folder: Path) -> None:
    with suppress(OSError):  # it holds a bundle now
        folder.rmdir()


def _manifest_bytes(folder: Path) -> bytes:
    try:
        return (folder / MANIFEST).read_bytes()
    except FileNotFoundError:
        return b""


def _names_of(table: object) -> set[str]:
    """Every "file" of a manifest, whatever its version."""
    if isinstance(table, dict):
        own = {table["file"]} if isinstance(table.get("file"), str) else set()
        return own.union(*(_names_of(value) for value in table.values()))
    if isinstance(table, list):
        return set().union(*(_names_of(value) for value in table))
    return set()


def _rename_in(table: object, file: BundleFile, name: str) -> None:
    if isinstance(table, dict):
        if (table.get("file"), table.get("sha256")) == (file.file, file.sha256):
            table["file"] = name
        for value in table.values():
            _rename_in(value, file, name)
    elif isinstance(table, list):
        for value in table:
            _rename_in(value, file, name)


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    _sync(path)


def _sync(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
