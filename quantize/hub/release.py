"""Weights that a project publishes as plain files of a release: fetched, gone on with, and pinned by their hash."""

from __future__ import annotations

import time
from pathlib import Path

import requests

from edge_aac import __version__
from edge_aac.bundle.hashes import file_sha256
from edge_aac.errors import DataError, DeviceError, InputMissingError
from quantize.hub.download import RANGE_NOT_SATISFIABLE, amount
from quantize.hub.faults import PARTIAL_KEPT, unwritable
from quantize.hub.registry import Source
from quantize.progress import Log

_TIMEOUT_S = 30.0
_PIECE_BYTES = 1 << 14  # what a break loses
_PARTIAL, _NOT_FOUND = 206, 404


def fetch_release(source: Source, cache: Path, waits_s: tuple[float, ...], log: Log) -> Path:
    """Fetch the files of a release that are not there yet, and verify all of them.

    Args:
        source: an entry with an address and a SHA-256 for each of its files.
        cache: folder that holds what was fetched, in a folder for each source and hash.
        waits_s: seconds before the next attempt at a download that broke off without having got on.
        log: called with a line when a file begins and one when it is verified.

    Returns:
        The folder of the files.

    Raises:
        DeviceError: the server or the connection fails for good, or the cache cannot be written.
        InputMissingError: the file is not there.
        DataError: a file is not the pinned one; it is removed.
    """
    folder = cache / "releases" / source.repo.replace("/", "--") / source.revision
    log(f"{source.repo}, release {source.revision}, licence {source.license}")
    log(f"  {source.credit}")
    for name in source.files:
        path = folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.is_file():
                _download(f"{source.address}/{name}", path, waits_s, log)
            digest = file_sha256(path)
            if digest != source.sha256[name]:
                path.unlink()
                raise DataError(
                    f"{name} of {source.repo} is not the file that edge-aac pins and was removed: do not use another "
                    "copy before you know why"
                )
        except OSError as error:
            raise unwritable(error, folder, "--cache") from error
        log(f"verified {name}: {amount(path.stat().st_size)}, sha256 {digest}")
    return folder


def _download(url: str, path: Path, waits_s: tuple[float, ...], log: Log) -> None:
    """Fetch one file beside its place, going on after every break, and put it there once it is whole."""
    partial = path.with_name(f"{path.name}.incomplete")
    attempts = iter(waits_s)
    while True:
        have = partial.stat().st_size if partial.is_file() else 0
        log(f"fetching {path.name}{f', {amount(have)} are here' if have else ''}")
        try:
            _append(url, partial, have)
            partial.replace(path)
            return
        except requests.RequestException as error:
            got_on = partial.is_file() and partial.stat().st_size > have
            attempts = iter(waits_s) if got_on else attempts
            wait = next(attempts, None)
            if wait is None:
                raise DeviceError(
                    f"{path.name} cannot be had from {url} ({type(error).__name__}): check the network; {PARTIAL_KEPT}"
                ) from error
            log(f"the connection broke; going on in {wait:g} s")
            time.sleep(wait)


def _append(url: str, partial: Path, have: int) -> None:
    """Add to a part of a file what is missing of it."""
    headers = {"user-agent": f"edge-aac/{__version__}", "accept-encoding": "identity"}
    if have:
        headers["range"] = f"bytes={have}-"
    with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT_S) as answer:
        if answer.status_code == _NOT_FOUND:
            raise InputMissingError(f"{url} is not there any more: look for the release's new place")
        if answer.status_code == RANGE_NOT_SATISFIABLE:
            return  # all of it is here
        answer.raise_for_status()
        # A server that does not know ranges sends the whole again.
        with partial.open("ab" if answer.status_code == _PARTIAL else "wb") as file:
            for piece in answer.iter_content(_PIECE_BYTES):
                file.write(piece)
