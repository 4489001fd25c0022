"""What a repository holds at one commit, and what of it is wanted: asked of the hub, or read from its cache."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from huggingface_hub import HfApi, constants, metadata_load
from huggingface_hub.file_download import repo_folder_name
from huggingface_hub.hf_api import ModelInfo
from yaml import YAMLError

from edge_aac import __version__
from edge_aac.errors import DataError, DeviceError, InputMissingError, UsageError
from quantize.hub.faults import NOTHING_WRITTEN, HubFault, explained
from quantize.hub.registry import SHA256, Source

SHA1 = re.compile(r"[0-9a-f]{40}")
REVISION = re.compile(r"[\w][\w./+-]*")
CARD = "README.md"
# Says who asks and nothing else: the library's own header lists what is installed on this machine.
HEADERS = {"user-agent": f"edge-aac/{__version__}"}


@dataclass(frozen=True)
class HubFile:
    """One file of a repository.

    The hub gives the SHA-256 of the large files and, for the small ones, git's SHA-1 of the blob.

    Attributes:
        name: path in the repository.
        size: in bytes.
        digest: what the hub says of its content: 64 digits are a SHA-256, 40 are git's.
    """

    name: str
    size: int
    digest: str

    @property
    def has_sha256(self) -> bool:
        """Whether the hub gives its SHA-256; git's SHA-1 otherwise."""
        return SHA256.fullmatch(self.digest) is not None


@dataclass(frozen=True)
class Listing:
    """What is wanted of a repository at one commit.

    Attributes:
        source: the entry of the registry.
        revision: requested branch, tag or commit.
        commit: what it stands for.
        files: those to fetch.
        card_license: what the model card states; empty where it states none.
    """

    source: Source
    revision: str
    commit: str
    files: tuple[HubFile, ...]
    card_license: str = ""

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    @property
    def license(self) -> str:
        """The licence as known here, and that of the model card where it is another one."""
        if self.card_license.lower() in {"", self.source.license.lower()}:
            return self.source.license
        return f"{self.source.license} (its model card states: {self.card_license})"

    @property
    def pins(self) -> dict[str, str]:
        """The registry's hashes: they hold for the registry's revision, not for one that somebody asks for."""
        return self.source.sha256 if self.revision == self.source.revision else {}


@dataclass(frozen=True)
class Hub:
    """Where to ask and where to keep.

    Attributes:
        endpoint: address of the hub.
        cache: folder of what was fetched, in the library's own layout.
        waits_s: before the next attempt at a download that broke off without having got on; then it is given up.
    """

    endpoint: str = field(default_factory=lambda: constants.ENDPOINT)
    cache: Path = field(default_factory=lambda: Path(constants.HF_HUB_CACHE))
    waits_s: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0)

    def folder(self, repo: str) -> Path:
        """Of one repository in the cache."""
        return self.cache / repo_folder_name(repo_id=repo, repo_type="model")

    def snapshot(self, listing: Listing) -> Path:
        """Where the files of a listing lie, under their own names, once they are fetched."""
        return self.folder(listing.source.repo) / "snapshots" / listing.commit

    def partial(self, listing: Listing, file: HubFile) -> Path:
        """Where the library keeps what it has of a file until it is whole."""
        return self.folder(listing.source.repo) / "blobs" / f"{file.digest}.incomplete"


def wanted(source: Source, names: Collection[str]) -> list[str]:
    """Choose from the names of a repository: one form of the weights, and never those of another framework.

    Raises:
        InputMissingError: a needed one is not among them.
    """
    chosen = [*source.files, *(name for name in source.optional if name in names)]
    for row in source.one_of:
        chosen.append(next((name for name in row if name in names), row[-1]))
    if missing := [name for name in chosen if name not in names]:
        raise InputMissingError(f"{source.repo} lacks {missing[0]} at this revision: try another with --revision")
    return chosen


def list_files(hub: Hub, source: Source, revision: str | None = None) -> Listing:
    """Ask the hub what a repository holds; where HF_HUB_OFFLINE forbids it, what the cache holds of it.

    Raises:
        UsageError: the revision is no name of one.
        DeviceError: the hub cannot be asked, or it is offline and the cache is not complete.
        InputMissingError: no such repository, revision or file, or it is not for everybody.
        DataError: the hub's answer cannot be used, or a file is not the pinned one.
    """
    revision = revision or source.revision
    if not REVISION.fullmatch(revision) or ".." in revision:
        raise UsageError(f"{revision!r} is no branch, tag or commit: correct --revision")
    if constants.HF_HUB_OFFLINE:
        return _cached(hub, source, revision)
    try:
        info = HfApi(endpoint=hub.endpoint, headers=HEADERS).model_info(
            source.repo, revision=revision, files_metadata=True, timeout=constants.HF_HUB_ETAG_TIMEOUT
        )
    except HubFault as error:
        raise explained(error, source.repo, hub.endpoint, NOTHING_WRITTEN) from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        # JSON, but not a model's: the library looks its fields up unseen.
        raise DataError(f"what the hub says of {source.repo} is no hub's answer: correct HF_ENDPOINT") from error
    listing = _online(hub, source, revision, info)
    for file in listing.files:
        if file.has_sha256 and listing.pins.get(file.name, file.digest) != file.digest:
            raise DataError(
                f"{source.repo} has another {file.name} than the one that edge-aac pins: "
                "do not use it before you know why"
            )
    return listing


def _online(hub: Hub, source: Source, revision: str, info: ModelInfo) -> Listing:
    siblings = {entry.rfilename: entry for entry in info.siblings or ()}
    files = []
    for name in wanted(source, siblings):
        entry = siblings[name]
        digest = entry.lfs.sha256 if entry.lfs else entry.blob_id
        size = entry.lfs.size if entry.lfs else entry.size
        if size is None or digest is None or not (SHA256 if entry.lfs else SHA1).fullmatch(digest):
            raise DataError(
                f"the hub gives no hash of {name} in {source.repo}, it could not be verified: use another HF_ENDPOINT"
            )
        files.append(HubFile(name, size, digest))
    if info.sha is None or not SHA1.fullmatch(info.sha):
        raise DataError(f"the hub names no commit of {source.repo}: use another HF_ENDPOINT")
    return Listing(source, revision, info.sha, _in_order(files), _stated(getattr(info.card_data, "license", None)))


def _cached(hub: Hub, source: Source, revision: str) -> Listing:
    folder = hub.folder(source.repo)
    reference = folder / "refs" / revision
    absent = DeviceError(
        f"{source.repo} is not whole in {hub.cache} and HF_HUB_OFFLINE forbids fetching it: unset it, or give --cache "
        "the folder that has it"
    )
    if SHA1.fullmatch(revision):
        commit = revision
    elif os.path.isfile(reference):
        commit = reference.read_text(encoding="utf-8").strip()
    else:
        raise absent
    if not SHA1.fullmatch(commit):
        raise absent
    snapshot = folder / "snapshots" / commit
    try:
        names = wanted(source, [name for name in source.candidates if os.path.isfile(snapshot / name)])
    except InputMissingError as error:
        raise absent from error
    files = []
    for name in names:
        blob = (snapshot / name).resolve()
        if not (SHA256.fullmatch(blob.name) or SHA1.fullmatch(blob.name)):
            # A cache without symbolic links keeps no hashes.
            raise DeviceError(f"{name} in {hub.cache} cannot be verified without the hub: unset HF_HUB_OFFLINE")
        files.append(HubFile(name, blob.stat().st_size, blob.name))
    try:
        card = (metadata_load(snapshot / CARD) or {}) if CARD in names else {}
    except (ValueError, YAMLError):
        card = {}  # a card without a legible head states nothing
    return Listing(source, revision, commit, _in_order(files), _stated(card.get("license")))


def _in_order(files: list[HubFile]) -> tuple[HubFile, ...]:
    """Small ones first: what is wrong with a configuration should show before gigabytes are fetched."""
    return tuple(sorted(files, key=lambda file: (file.size, file.name)))


def _stated(license: object) -> str:
    return ", ".join(map(str, license)) if isinstance(license, list) else str(license or "")
