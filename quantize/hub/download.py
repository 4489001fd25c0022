"""Fetches the files of a listing, goes on where a broken download stopped, and believes nothing before its hash."""

from __future__ import annotations

import hashlib
import os
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import constants, hf_hub_download
from requests.exceptions import ChunkedEncodingError, HTTPError

from edge_aac.errors import DataError
from quantize.hub.faults import PARTIAL_KEPT, HubFault, explained, unwritable
from quantize.hub.listing import HEADERS, Hub, HubFile, Listing
from quantize.progress import Log

PIECE_BYTES = 1 << 18
LONG_BYTES = 1_000_000  # from here on it is worth a line that a file is being fetched
RANGE_NOT_SATISFIABLE = 416
THOUSAND = 1000  # the hub's pages count in decimal units too


@dataclass(frozen=True)
class Fetched:
    """What lies on the disk.

    Attributes:
        listing: the files to fetch.
        folder: holds the files under the names that they have in the repository.
        sha256: file → SHA-256, as computed here.
    """

    listing: Listing
    folder: Path
    sha256: dict[str, str]


def missing_bytes(hub: Hub, listing: Listing) -> int:
    """How much of a listing is still to come."""
    missing = 0
    for file in listing.files:
        if not os.path.exists(hub.snapshot(listing) / file.name):
            missing += max(0, file.size - _size(hub.partial(listing, file)))
    return missing


def fetch(hub: Hub, listing: Listing, log: Log) -> Fetched:
    """Fetch what is missing and verify everything, also what was there before.

    Args:
        hub: the server to fetch from, and the cache to fetch into.
        listing: what.
        log: called with a line when a large file begins and one when a file is verified.

    Raises:
        DeviceError: the hub or the connection fails for good, or the cache cannot be written.
        InputMissingError: a file is not there, or not for everybody.
        DataError: a file is not what the hub lists; it is removed.
    """
    hashes = {}
    for file in listing.files:
        if not os.path.exists(hub.snapshot(listing) / file.name):
            have = _size(hub.partial(listing, file))
            if have or file.size >= LONG_BYTES:
                log(f"fetching {file.name} ({amount(file.size)}{f', {amount(have)} are here' if have else ''})")
        hashes[file.name] = _verified(_download(hub, listing, file, log), listing, file)
        log(f"verified {file.name}: {amount(file.size)}, sha256 {hashes[file.name]}")
    _remember(hub, listing)
    return Fetched(listing, hub.snapshot(listing), hashes)


def amount(size: float) -> str:
    """Bytes for a person: "870 MB"."""
    for unit in ("bytes", "kB", "MB"):
        if size < THOUSAND - 0.5:
            return f"{size:.3g} {unit}"
        size /= THOUSAND
    return f"{size:.2f} GB"


def _download(hub: Hub, listing: Listing, file: HubFile, log: Log) -> Path:
    repo, partial, attempts = listing.source.repo, hub.partial(listing, file), iter(hub.waits_s)
    while True:
        had = _size(partial)
        try:
            with _resumable():
                return Path(
                    hf_hub_download(
                        repo,
                        file.name,
                        revision=listing.commit,
                        cache_dir=hub.cache,
                        endpoint=hub.endpoint,
                        headers=HEADERS,
                    )
                )
        except ChunkedEncodingError as error:
            # The one broken connection that the library does not mend itself (it mends silence and refusals).
            if _size(partial) > had:
                attempts = iter(hub.waits_s)
            wait = next(attempts, None)
            if wait is None:
                raise explained(error, f"{file.name} of {repo}", hub.endpoint, PARTIAL_KEPT) from error
            log(f"the connection broke at {amount(_size(partial))} of {file.name}; going on in {wait:g} s")
            time.sleep(wait)
        except HTTPError as error:
            if error.response is not None and error.response.status_code == RANGE_NOT_SATISFIABLE:
                raise _misfit(partial, listing, file) from error
            raise explained(error, f"{file.name} of {repo}", hub.endpoint, PARTIAL_KEPT) from error
        except HubFault as error:
            raise explained(error, f"{file.name} of {repo}", hub.endpoint, PARTIAL_KEPT) from error
        except OSError as error:
            if error.errno is None:  # how the library says that another number of bytes came than was announced
                raise _misfit(partial, listing, file) from error
            raise unwritable(error, hub.cache, "--cache") from error


def _misfit(partial: Path, listing: Listing, file: HubFile) -> DataError:
    """Removes what can never become the file: the next attempt would only try to go on from it."""
    partial.unlink(missing_ok=True)
    return DataError(
        f"{file.name} of {listing.source.repo} came with another size than the hub lists and was removed: run the same "
        "command again to fetch it anew"
    )


@contextmanager
def _resumable() -> Iterator[None]:
    """Have the library fetch so that a broken download can be gone on from.

    It has no argument for any of this. Xet, which it prefers, starts a file anew (huggingface/xet-core issue 358), and
    so does hf_transfer; over plain HTTP it loses the piece during which the connection breaks, 10 MiB by default, and
    would never get anywhere on a line that breaks oftener than that.
    """
    names = ("HF_HUB_DISABLE_XET", "HF_HUB_ENABLE_HF_TRANSFER", "DOWNLOAD_CHUNK_SIZE")
    before = {name: getattr(constants, name) for name in names}
    try:
        for name, value in zip(names, (True, False, PIECE_BYTES), strict=True):
            setattr(constants, name, value)
        with warnings.catch_warnings():
            # It wants room for the whole file, also where most of it is there; ours was asked for before.
            warnings.filterwarnings("ignore", "Not enough free disk space", UserWarning)
            yield
    finally:
        for name, value in before.items():
            setattr(constants, name, value)


def _verified(path: Path, listing: Listing, file: HubFile) -> str:
    """SHA-256 of a file that is what the hub, and the registry where it pins one, say that it is."""
    sha256 = hashlib.sha256()
    git = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as stream:
        while piece := stream.read(1 << 20):
            sha256.update(piece)
            git.update(piece)
    found = sha256.hexdigest()
    if (found if file.has_sha256 else git.hexdigest()) != file.digest:
        _discard(path)
        raise DataError(
            f"{file.name} of {listing.source.repo} is not what the hub lists (its hash differs) and was removed: "
            "run the same command again to fetch it anew"
        )
    if listing.pins.get(file.name, found) != found:
        _discard(path)
        raise DataError(
            f"{file.name} of {listing.source.repo} is not the file that edge-aac pins and was removed: do not use it "
            "before you know why"
        )
    return found


def _discard(path: Path) -> None:
    """Removes a file of the cache: the link that bears its name, and what it stands for."""
    blob = path.resolve()
    path.unlink()
    blob.unlink(missing_ok=True)


def _remember(hub: Hub, listing: Listing) -> None:
    """Note what the revision stood for, so that it is found again without a network; only now that all is whole."""
    if listing.revision == listing.commit:
        return
    reference = hub.folder(listing.source.repo) / "refs" / listing.revision
    try:
        reference.parent.mkdir(parents=True, exist_ok=True)
        reference.write_text(listing.commit, encoding="utf-8")
    except OSError as error:
        raise unwritable(error, hub.cache, "--cache") from error


def _size(path: Path) -> int:
    return path.stat().st_size if os.path.isfile(path) else 0
