"""One server, to which requests are posted over a connection that is kept."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from pathlib import Path
from urllib.parse import urlsplit

from edge_aac.errors import ConfigError, InputMissingError
from edge_aac.sinks.remote import RemoteFault

_HIGHEST_ANSWER_BYTES = 65_536
_SILENCES_IN_ALL = 4
"""A request may take so many times as long as the server may be silent for, all in all."""


@dataclass(frozen=True)
class Answer:
    """What a server said.

    Attributes:
        status: code.
        headers: by name in lower case.
    """

    status: int
    headers: Mapping[str, str]


def trust(ca: Path | None) -> ssl.SSLContext:
    """How certificates are verified: always, with their host names.

    Raises:
        InputMissingError: the file of certificates cannot be read.
        ConfigError: it holds none.
    """
    if ca is None:
        return ssl.create_default_context()
    try:
        return ssl.create_default_context(cafile=str(ca.expanduser()))
    except ssl.SSLError as error:
        raise ConfigError(f"'{ca}' holds no certificates: name a PEM file") from error
    except OSError as error:
        raise InputMissingError(f"'{ca}' cannot be read ({error.strerror}): correct the path of ca") from error


class Server:
    """A server on the web.

    Args:
        url: address whose scheme, host and port count.
        context: see :func:`trust`.
        timeout_s: seconds that it may be silent for.
    """

    def __init__(self, url: str, context: ssl.SSLContext, timeout_s: float) -> None:
        parts = urlsplit(url)
        self._secure = parts.scheme == "https"
        self.host = parts.hostname or ""
        self._port = parts.port
        self._context = context
        self._timeout_s = timeout_s
        self._connection: HTTPConnection | None = None
        self._closed = False

    def post(self, target: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Post once; once more where a connection that was kept had been closed by the server.

        Raises:
            RemoteFault: the server cannot be reached, or does not answer as HTTP does.
        """
        kept = self._connection is not None
        try:
            return self._post(target, body, headers)
        except RemoteFault as fault:
            if not kept or self._closed or not isinstance(fault.__cause__, (ConnectionError, HTTPException)):
                raise
            return self._post(target, body, headers)

    def close(self) -> None:
        """End, from any thread: a request under way fails."""
        self._closed = True
        self._cut()

    def _post(self, target: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        late = threading.Event()
        timer = threading.Timer(self._timeout_s * _SILENCES_IN_ALL, self._give_up(late))
        timer.daemon = True
        timer.start()
        try:
            answer = self._exchange(target, body, headers)
            if late.is_set():  # what was cut off reads like an answer without further headers
                raise TimeoutError
            return answer
        except ssl.SSLCertVerificationError as error:
            raise RemoteFault(
                f"the certificate of {self.host} is not accepted ({error.verify_message}): correct it, or ca"
            ) from error
        except ssl.SSLError as error:
            raise RemoteFault(f"{self.host} does not speak TLS as it should ({error.reason})") from error
        except socket.gaierror as error:
            raise RemoteFault(f"the name {self.host} is not known ({error.strerror})") from error
        except (OSError, HTTPException, ValueError) as error:
            if late.is_set():
                raise RemoteFault(f"{self.host} did not come to the end of an answer") from error
            if isinstance(error, TimeoutError):
                raise RemoteFault(f"{self.host} did not answer for {self._timeout_s:g} s") from error
            reason = (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
            raise RemoteFault(f"{self.host} cannot be reached ({reason})") from error
        finally:
            timer.cancel()

    def _give_up(self, late: threading.Event) -> Callable[[], None]:
        def cut() -> None:
            late.set()
            self._cut()

        return cut

    def _exchange(self, target: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        connection = self._connection or self._connected()
        answered = False
        try:
            connection.request("POST", target, body, dict(headers))
            response = connection.getresponse()
            whole = len(response.read(_HIGHEST_ANSWER_BYTES)) < _HIGHEST_ANSWER_BYTES
            answered = whole and not _ends(response)
            return Answer(response.status, {name.lower(): value for name, value in response.getheaders()})
        finally:
            if not answered:
                self._connection = None
                connection.close()

    def _connected(self) -> HTTPConnection:
        if self._closed:
            raise ConnectionAbortedError("the sink is closed")
        if self._secure:
            connection: HTTPConnection = HTTPSConnection(
                self.host, self._port, timeout=self._timeout_s, context=self._context
            )
        else:
            connection = HTTPConnection(self.host, self._port, timeout=self._timeout_s)
        self._connection = connection
        connection.connect()
        return connection

    def _cut(self) -> None:
        connection = self._connection
        sock = None if connection is None else connection.sock
        if sock is not None:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


def _ends(response: HTTPResponse) -> bool:
    return response.will_close or not response.isclosed()
