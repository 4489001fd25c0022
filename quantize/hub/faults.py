"""What can go wrong between here and the hub, each as one sentence that names the mend."""

from __future__ import annotations

import errno
from pathlib import Path

from huggingface_hub.errors import (
    EntryNotFoundError,
    FileMetadataError,
    GatedRepoError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from requests import RequestException
from requests.exceptions import (
    InvalidJSONError,
    InvalidSchema,
    InvalidURL,
    MissingSchema,
    ProxyError,
    SSLError,
    Timeout,
)

from edge_aac.errors import ConfigError, DeviceError, EdgeAacError, InputMissingError

HubFault = (RequestException, OfflineModeIsEnabled, FileMetadataError)
"""What ``huggingface_hub`` below 1.0 raises of its own accord; its HTTP errors are those of ``requests``."""

NOTHING_WRITTEN = "nothing was written"
PARTIAL_KEPT = "the same command goes on where this one stopped"
UNAUTHORIZED, FORBIDDEN, NOT_FOUND, TOO_MANY, SERVER_FAULT = 401, 403, 404, 429, 500
# How a failed connection describes itself, in whichever exception of urllib3's, and what a person calls it.
REASONS = {
    "NameResolutionError": "its name cannot be resolved",
    "Name or service not known": "its name cannot be resolved",
    "Connection refused": "it refuses connections",
    "unreachable": "there is no route to it",
    "Read timed out": "it stopped answering",
    "Connection aborted": "it broke the connection off",
    "Connection broken": "it broke the connection off",
}


def explained(error: Exception, repo: str, endpoint: str, written: str) -> EdgeAacError:
    """The error to raise (``from`` this one).

    Args:
        error: one of :data:`HubFault`.
        repo: repository whose files were requested.
        endpoint: address of the hub.
        written: what is left on the disk, as the end of a sentence.
    """
    endpoint = _without_password(endpoint)
    if isinstance(error, LocalEntryNotFoundError) and isinstance(error.__cause__, Exception):
        error = error.__cause__  # the library's "not in the cache either" around what went wrong
    if isinstance(error, OfflineModeIsEnabled):
        return DeviceError(f"HF_HUB_OFFLINE forbids asking the hub for {repo}: unset it; {written}")
    if isinstance(error, MissingSchema | InvalidSchema | InvalidURL):
        return ConfigError(f"{endpoint!r} is no address of a hub: correct HF_ENDPOINT or unset it")
    if isinstance(error, RequestException) and error.response is not None and not isinstance(error, InvalidJSONError):
        return _answered(error, error.response.status_code, repo, endpoint, written)
    return DeviceError(
        f"{repo} cannot be had from the hub at {endpoint} ({_reason(error)}): check the network, or set HF_ENDPOINT to "
        f"a mirror; {written}"
    )


def _without_password(endpoint: str) -> str:
    scheme, separator, rest = endpoint.rpartition("://")
    return scheme + separator + rest.rpartition("@")[2]


def _answered(error: Exception, status: int, repo: str, endpoint: str, written: str) -> EdgeAacError:
    private = isinstance(error, RepositoryNotFoundError) and not isinstance(error, GatedRepoError)
    if not private and status in {UNAUTHORIZED, FORBIDDEN}:
        return InputMissingError(
            f"the hub does not give {repo} to everybody ({status}): ask for access on its page and set HF_TOKEN"
        )
    if private:
        # The hub says the same of a repository that is not there, so as not to give private ones away.
        return InputMissingError(
            f"the hub at {endpoint} has no {repo}, or it is private: set HF_TOKEN if you may see it"
        )
    if isinstance(error, RevisionNotFoundError):
        return InputMissingError(f"{repo} has no such revision: correct --revision or leave it out")
    if isinstance(error, EntryNotFoundError) or status == NOT_FOUND:
        return InputMissingError(
            f"the hub at {endpoint} does not have what it is asked for of {repo}: try another --revision"
        )
    if status == TOO_MANY:
        return DeviceError(f"the hub at {endpoint} is asked too often (429): wait, or set HF_TOKEN; {written}")
    if status >= SERVER_FAULT:
        return DeviceError(
            f"the hub at {endpoint} has a fault of its own ({status}): try again later, or set HF_ENDPOINT to a "
            f"mirror; {written}"
        )
    return DeviceError(
        f"the hub at {endpoint} refuses to give {repo} ({status}): check proxy and HF_ENDPOINT; {written}"
    )


def _reason(error: Exception) -> str:
    if isinstance(error, InvalidJSONError | FileMetadataError):
        return "what answers is no hub; a login page of the network?"
    if isinstance(error, SSLError):
        return "its certificate is not trusted; is this machine's clock right?"
    if isinstance(error, ProxyError):
        return "the proxy does not let it through"
    text = repr(error)
    named = next((reason for sign, reason in REASONS.items() if sign in text), None)
    if named is None and isinstance(error, Timeout):
        return "it does not answer"
    return named or type(error).__name__


def unwritable(error: OSError, folder: Path, option: str) -> EdgeAacError:
    """The error to raise where a folder of ours does not take what is written to it."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return DeviceError(f"no room is left in {folder}: make some, or give another folder with {option}")
    return DeviceError(f"{folder} cannot be written ({error.strerror}): give another folder with {option}")
