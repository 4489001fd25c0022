"""How ffmpeg learns a server's address without anybody reading it from the list of processes.

ffmpeg is given the address of a port of this machine, and is redirected from there to the server: RTSP and HTTP know
redirections, and all versions of ffmpeg follow them. The port also carries the connection itself

- of RTSP with TLS, which ffmpeg 4 to 7 do not verify: Python's TLS verifies the server;
- of RTSP over TCP with a login, which ffmpeg 4 to 7 send along to wherever a server redirects them (over HTTP they do
  not): a redirection to another server is not followed then.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import ssl
import struct
import threading
import time
from urllib.parse import urlsplit

from edge_aac.audio.sources.network.address import DEFAULT_PORTS, NetworkAddress
from edge_aac.audio.sources.network.credentials import Login
from edge_aac.audio.sources.network.log import UNTRUSTED, reason_in_words
from edge_aac.audio.sources.network.rtsp_answers import RedirectedError, RtspAnswers, sequence_of
from edge_aac.errors import DataError, DeviceError

_HIGHEST_REQUEST_BYTES = 16 * 1024
_REQUEST_TIMEOUT_S = 5.0
_TICK_S = 0.25
_READ_BYTES = 64 * 1024
_MAX_REDIRECTIONS = 5


class Doorman:
    """A port of 127.0.0.1 that shows one program the way to a server, once.

    Connections of other users' programs are closed without an answer.

    Args:
        address: the server.
        login: what it lets its clients in for; None for nothing.

    Attributes:
        url: the URL for the program, without secrets.
        error: why the server could not be reached, where this carries the connection; None while there is no error.

    Raises:
        DeviceError: no port is to be had.
    """

    def __init__(self, address: NetworkAddress, login: Login | None) -> None:
        self.error: DeviceError | None = None
        self._address = address
        has_password = login is not None and login.user_info != ""
        self._carries = address.is_rtsp and (address.has_tls or (has_password and address.transport == "tcp"))
        self._closing = False
        self._sockets: list[socket.socket] = []
        try:
            self._listener = socket.create_server(("127.0.0.1", 0), backlog=4)
        except OSError as error:
            raise DeviceError(f"No port of 127.0.0.1 can be opened ({error.strerror}).") from error
        self._listener.settimeout(_TICK_S)
        self._here = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.url = f"{'rtsp' if address.is_rtsp else 'http'}://{self._here}/"
        # No byte of the target is sent but to a program of this user.
        self._target = address.url(login, at=self._here if self._carries else None)
        self._thread = threading.Thread(target=self._serve, name="network doorman", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Closes the port, and the connection that it carries. May be called again."""
        self._closing = True
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self._thread.join()

    def _serve(self) -> None:
        try:
            if self._redirect() and self._carries:
                self._carry()
        except OSError as error:
            self.error = self.error or DeviceError(f"The way to '{self._address.label}' failed ({_reason(error)}).")
        finally:
            self._listener.close()
            for each in self._sockets:
                each.close()

    def _accepted(self) -> socket.socket | None:
        """Gives the next connection of a program of this user; None where this is being closed."""
        while not self._closing:
            try:
                connection, peer = self._listener.accept()
            except TimeoutError:
                continue
            if _owner_of(peer, self._listener.getsockname()) == os.geteuid():
                connection.settimeout(_REQUEST_TIMEOUT_S)
                self._sockets.append(connection)
                return connection
            connection.close()
        return None

    def _redirect(self) -> bool:
        """Answers the first whole request; False where there was none."""
        while (connection := self._accepted()) is not None:
            try:
                request = _request(connection)
                if request is None:
                    continue
                sequence = sequence_of(request) if self._address.is_rtsp else ""
                connection.sendall(self._redirection(sequence, self._target))
                return True
            except OSError:
                continue
            finally:
                self._sockets.remove(connection)
                connection.close()
        return False

    def _redirection(self, sequence: str, target: str) -> bytes:
        protocol = "RTSP/1.0" if self._address.is_rtsp else "HTTP/1.1"
        answer = f"{protocol} 302 Found\r\n{sequence}Location: {target}\r\nContent-Length: 0\r\n"
        return f"{answer}Connection: close\r\n\r\n".encode("ascii")

    def _carry(self) -> None:
        """Carries the next connection to the server and back, and the one after it where that redirects to itself."""
        for _ in range(_MAX_REDIRECTIONS):
            near = self._accepted()
            if near is None:
                return
            far = self._reached()
            try:
                self._pass_on(near, far)
                return
            except RedirectedError as redirection:
                near.sendall(self._redirection(redirection.sequence, self._target_here(redirection.location)))
            except DataError as error:
                self.error = DeviceError(f"'{self._address.label}' does not speak RTSP.")
                raise OSError(0, str(error)) from error
            finally:
                for each in (near, far):
                    self._sockets.remove(each)
                    each.close()
        self.error = DeviceError(f"'{self._address.label}' redirects without end.")

    def _pass_on(self, near: socket.socket, far: socket.socket) -> None:
        """Passes on the bytes of one connection in both directions, to its end.

        Raises:
            RedirectedError: the server sends its client elsewhere.
            DataError: the server does not speak RTSP.
            OSError: the connection is lost.
        """
        answers = RtspAnswers()
        poll = select.poll()
        for each in (near, far):
            poll.register(each, select.POLLIN)
        while not self._closing:
            ready = {descriptor for descriptor, _ in poll.poll(1000 * _TICK_S)}
            if near.fileno() in ready:
                data = _received(near)
                if data == b"":
                    return
                far.sendall(data or b"")
            if far.fileno() in ready:
                # What TLS has taken from the socket already makes no descriptor ready.
                while True:
                    data = _received(far)
                    if data == b"":
                        return
                    near.sendall(answers.feed(data or b""))
                    if not isinstance(far, ssl.SSLSocket) or not far.pending():
                        break

    def _target_here(self, location: str) -> str:
        """Gives the address here of where the server sends its client.

        Raises:
            OSError: it is another server, which would be given the login.
        """
        try:
            parts = urlsplit(location)
            host, port = (parts.hostname or "").lower(), parts.port or DEFAULT_PORTS.get(parts.scheme)
        except ValueError:
            host, port = "", None
        own = self._address.host.strip("[]").lower()
        if host != own or port != self._address.port or not location.isascii():
            self.error = DeviceError(
                f"'{self._address.label}' redirects to another server, which is not given the login: write its address."
            )
            raise OSError(0, "redirected to another server")
        return f"rtsp://{self._here}{parts.path}{f'?{parts.query}' if parts.query else ''}"

    def _reached(self) -> socket.socket:
        """Connects to the server, through TLS if its address has it.

        Raises:
            OSError: there is no connection; :attr:`error` tells why.
        """
        address = self._address
        host = address.host.strip("[]")
        try:
            context = _tls_context(address)
            plain = socket.create_connection((host, address.port), timeout=address.connect_s)
        except ssl.SSLError as error:
            self.error = DeviceError(f"'{address.authorities}' holds no certificates of authorities.")
            raise self.error from error
        except OSError as error:
            self.error = DeviceError(f"'{address.label}' {_unreached(error)}.")
            raise
        plain.settimeout(_REQUEST_TIMEOUT_S)
        self._sockets.append(plain)
        if context is None:
            return plain
        try:
            # It takes the descriptor over.
            self._sockets[-1] = context.wrap_socket(plain, server_hostname=host)
            return self._sockets[-1]
        except ssl.SSLCertVerificationError as error:
            self.error = DeviceError(
                f"The certificate of '{address.label}' is not valid ({error.verify_message.rstrip('.')}): {UNTRUSTED}."
            )
            raise
        except OSError as error:
            self.error = DeviceError(f"'{address.label}' does not speak TLS ({_reason(error)}).")
            raise


def _request(connection: socket.socket) -> bytes | None:
    """Gives the whole head of a request; None where there is none."""
    give_up_s = time.monotonic() + _REQUEST_TIMEOUT_S
    request = b""
    while b"\r\n\r\n" not in request:
        data = connection.recv(_READ_BYTES)
        request += data
        if not data or len(request) > _HIGHEST_REQUEST_BYTES or time.monotonic() > give_up_s:
            return None
    return request


def _tls_context(address: NetworkAddress) -> ssl.SSLContext | None:
    if not address.has_tls:
        return None
    context = ssl.create_default_context(cafile=address.authorities)
    if not address.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _received(source: socket.socket) -> bytes | None:
    """Gives what is there: nothing at the end, None where it is not there yet."""
    try:
        return source.recv(_READ_BYTES)
    except (ssl.SSLWantReadError, TimeoutError):
        return None


def _owner_of(peer: tuple[str, int], here: tuple[str, int]) -> int | None:
    """Gives the user whose program holds the other end of a connection within this machine; None where it is unknown.

    Linux lists the connections in /proc/net/tcp: their addresses as hexadecimal words of this machine's byte order.
    """
    local, remote = _as_listed(peer), _as_listed(here)
    with open("/proc/self/net/tcp", encoding="ascii") as lines:
        for line in lines:
            words = line.split()
            if words[1:3] == [local, remote]:
                return int(words[7])
    return None


def _as_listed(place: tuple[str, int]) -> str:
    (word,) = struct.unpack("=I", socket.inet_aton(place[0]))
    return f"{word:08X}:{place[1]:04X}"


def _unreached(error: OSError) -> str:
    """Why there is no connection, as the rest of a sentence about the address."""
    if isinstance(error, socket.gaierror):
        problem = "Failed to resolve hostname"
    elif isinstance(error, TimeoutError):
        problem = "timed out"
    else:
        problem = _reason(error)
    return reason_in_words(problem) or f"cannot be reached ({problem})"


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__
