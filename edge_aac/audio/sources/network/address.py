"""Addresses of the network's sources: what the server is asked for, and the options that stay here."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import quote, unquote

from edge_aac.audio.mixing import Mixing
from edge_aac.audio.sources.address import Address, number_option, split_query
from edge_aac.audio.sources.mixing_options import MIXING_OPTIONS, mixing_of
from edge_aac.audio.sources.network.credentials import Login
from edge_aac.credentials import SecretPlace
from edge_aac.errors import UsageError

_RTSP_OPTIONS = ("transport",)
_TLS_OPTIONS = ("ca", "tls_verify")
_OPTIONS = ("connect_s", "credentials", "stall_s", *MIXING_OPTIONS, *_TLS_OPTIONS, *_RTSP_OPTIONS)
# Many cameras have a parameter "channel" of their own, in the query: ours stands behind the # alone.
_OPTIONS_IN_A_QUERY = frozenset(_OPTIONS) - {"channel"}

DEFAULT_PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}
_HOST = re.compile(r"[A-Za-z0-9_~.-]+|\[[0-9A-Fa-f:.]+(?:%25[A-Za-z0-9_.~-]+)?\]")
_PORT = re.compile(r"[0-9]{1,5}")
_HIGHEST_PORT = 65_535
_KEPT_IN_A_PATH = "!$%&'()*+,/:;=?@[]~"
_ENCODE = "user and password with one of / ? # @ : % in them are percent-encoded, or given by credentials=file:PATH"

_STALL_S = 2.0
# Radio servers pass on what their sources send in pieces.
_STALL_OF_HTTP_S = 5.0
# A playlist's segments of 2 to 10 s arrive at once, and a server may be one of them late.
_STALL_OF_A_PLAYLIST_S = 30.0
_CONNECT_S = 15.0
_SHORTEST_S, _LONGEST_S = 0.5, 600.0


@dataclass(frozen=True)
class NetworkAddress:
    """A server's address, taken apart.

    Attributes:
        label: the address without what may be secret, for messages.
        scheme: ``rtsp``, ``rtsps``, ``http`` or ``https``.
        host: name or address of the server, as it stands in a URL: an IPv6 address in brackets.
        port: its port.
        path: path and query that the server is asked for. The query may hold a token: it is not shown.
        login: user and password of the address; None where it has none.
        credentials: where user and password are read from before each try; None where they are not.
        transport: how RTSP's sound is carried.
        stall_s: seconds without sound after which the connection is made anew.
        connect_s: seconds from the start of a try to the first sound.
        verify: whether the server's certificate must be valid.
        authorities: file of the certificate authorities to trust; None for the system's.
        mixing: how several channels become one.
    """

    label: str
    scheme: str
    host: str
    port: int
    path: str = field(repr=False)
    login: Login | None = None
    credentials: SecretPlace | None = None
    transport: Literal["tcp", "udp"] = "tcp"
    stall_s: float = _STALL_S
    connect_s: float = _CONNECT_S
    verify: bool = True
    authorities: Path | None = None
    mixing: Mixing | None = None

    @property
    def is_rtsp(self) -> bool:
        """Whether RTSP is spoken, with TLS or without."""
        return self.scheme.startswith("rtsp")

    @property
    def has_tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.scheme.endswith("s")

    @staticmethod
    def of(address: Address) -> NetworkAddress:
        """Takes an address apart.

        What stands behind a ``#`` are options; so is what stands in the query under an option's name, but for
        ``channel``. The rest of the query is the server's.

        Raises:
            UsageError: the address has no host, or an option is unknown or unusable. It shows no secret.
        """
        beginning, slashes, rest = address.uri.partition("://")
        if not slashes:
            raise UsageError(f"'{address.label}' has no host: write {address.scheme}://HOST/PATH.")
        scheme = beginning.lower()
        authority, path = _split_authority(rest)
        user_info, at, place = authority.rpartition("@")
        path, _, fragment = path.partition("#")
        if not at and "@" in path.partition("?")[0]:
            raise UsageError(f"An address at '{address.label}' holds an @ behind its host: {_ENCODE}.")
        host, port = _host_and_port(place, scheme, address.label)
        path, options = _split_options(path, fragment)
        _check_options(options, scheme)
        login = Login.of_user_info(user_info) if at else None
        credentials = _credentials_place(unquote(options["credentials"])) if "credentials" in options else None
        if login is not None and credentials is not None:
            raise UsageError(
                "The source has its user and password twice, in the address and by 'credentials': give one."
            )
        playlist = path.partition("?")[0].lower().endswith((".m3u8", ".m3u"))
        stall_s = _STALL_S if scheme.startswith("rtsp") else _STALL_OF_HTTP_S
        stall_s = _STALL_OF_A_PLAYLIST_S if playlist else stall_s
        mixing = {name: options[name] for name in MIXING_OPTIONS if name in options}
        return NetworkAddress(
            label=address.label,
            scheme=scheme,
            host=host,
            port=port,
            path=quote(path, safe=_KEPT_IN_A_PATH),
            login=login,
            credentials=credentials,
            transport="udp" if _choice(options, "transport", "tcp", "udp") else "tcp",
            stall_s=number_option(options, "stall_s", stall_s, _SHORTEST_S, _LONGEST_S),
            connect_s=number_option(options, "connect_s", _CONNECT_S, _SHORTEST_S, _LONGEST_S),
            verify=not _choice(options, "tls_verify", "yes", "no"),
            authorities=Path(unquote(options["ca"])) if "ca" in options else None,
            mixing=mixing_of(mixing) if mixing else None,
        )

    def secrets(self, login: Login | None) -> tuple[str, ...]:
        """All forms in which a message may hold a secret of the address or the login, the longest first."""
        query = self.path.partition("?")[2]
        texts = {query, *(item.partition("=")[2] for item in query.split("&"))}
        texts |= set() if login is None else login.secrets
        return tuple(sorted(filter(None, texts), key=len, reverse=True))

    def url(self, login: Login | None, *, at: str | None = None) -> str:
        """Gives the whole URL, with its secrets, for the one program that opens it.

        Args:
            login: user and password to put into it; a query that :attr:`Login.query` holds is added.
            at: host and port to go to instead of the server's own, without TLS.
        """
        scheme = self.scheme if at is None else self.scheme.removesuffix("s")
        place = at or f"{self.host}:{self.port}"
        path = self.path
        if login is not None and login.query:
            path += ("&" if "?" in path else "?") + login.query
        user_info = "" if login is None else login.user_info
        return f"{scheme}://{user_info}{place}{path}"


def _credentials_place(text: str) -> SecretPlace:
    try:
        return SecretPlace.parse(text)
    except ValueError as error:
        raise UsageError(
            "credentials has an unusable value: write credentials=file:PATH or credentials=env:NAME."
        ) from error


def _split_authority(rest: str) -> tuple[str, str]:
    end = re.search(r"[/?#]", rest)
    return (rest, "") if end is None else (rest[: end.start()], rest[end.start() :])


def _host_and_port(place: str, scheme: str, label: str) -> tuple[str, int]:
    closing = place.rfind("]")
    colon = place.find(":", closing + 1)
    host, port = (place, "") if colon < 0 else (place[:colon], place[colon + 1 :])
    if not host.isascii():
        try:
            host = host.encode("idna").decode("ascii")
        except UnicodeError:
            host = ""
    if not _HOST.fullmatch(host):
        raise UsageError(f"'{label}' has no usable host: write {scheme}://HOST[:PORT]/PATH; {_ENCODE}.")
    if not port:
        return host, DEFAULT_PORTS[scheme]
    if not _PORT.fullmatch(port) or not 0 < int(port) <= _HIGHEST_PORT:
        # It may be a password with a slash in it.
        raise UsageError(
            f"The port of an address at '{label}' is unusable: it is a number from 1 to {_HIGHEST_PORT}; {_ENCODE}."
        )
    return host, int(port)


def _split_options(path: str, fragment: str) -> tuple[str, dict[str, str]]:
    """Splits the options from the path and query of the server."""
    before, mark, query = path.partition("?")
    items = query.split("&")
    ours = [item for item in items if item.partition("=")[0] in _OPTIONS_IN_A_QUERY]
    if ours:
        query = "&".join(item for item in items if item not in ours)
        mark = "?" if query else ""
    ours += filter(None, fragment.split("&"))
    _, options = split_query("?" + "&".join(ours), _OPTIONS)
    return before + mark + query, options


def _check_options(options: dict[str, str], scheme: str) -> None:
    """Refuses options that this scheme has no use for."""
    for name in options:
        if name in _RTSP_OPTIONS and scheme != "rtsp":
            raise UsageError(f"'{name}' is an option of rtsp:// alone: {scheme}:// is always carried by TCP.")
        if name in _TLS_OPTIONS and not scheme.endswith("s"):
            raise UsageError(f"'{name}' is an option of rtsps:// and https://: {scheme}:// has no certificate.")
    if "ca" in options and options.get("tls_verify") == "no":
        raise UsageError("The source's options 'ca' and 'tls_verify=no' exclude each other: give one of them.")


def _choice(options: dict[str, str], key: str, default: str, other: str) -> bool:
    """Whether the other of two values is chosen."""
    value = options.get(key, default)
    if value not in (default, other):
        raise UsageError(f"{key} has an unusable value: write {key}={default} or {key}={other}.")
    return value == other
