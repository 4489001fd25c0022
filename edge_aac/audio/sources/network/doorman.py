"""How ffmpeg learns a server's address without anybody reading it from the list of processes.

ffmpeg is given the address of a port of this machine, and is redirected from there to the server: RTSP and HTTP know
redirections, and all versions of ffmpeg follow them. Of RTSP with TLS, which ffmpeg 4 to 7 do not verify, the port also
carries the connection, and Python's TLS verifies the server.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import socket
import ssl
import struct
import threading
import time

from edge_aac.audio.sources.network.address import NetworkAddress
from edge_aac.audio.sources.network.credentials import Login
from edge_aac.audio.sources.network.log import UNTRUSTED
from edge_aac.errors import DeviceError

_HIGHEST_REQUEST_BYTES = 16 * 1024
_REQUEST_TIMEOUT_S = 5.0
_TICK_S = 0.25
_READ_BYTES = 64 * 1024
_CSEQ = re.compile(rb"^cseq:[ \t]*([0-9]{1,10})[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)


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
        self._carries = address.is_rtsp and address.has_tls
        self._closing = False
        self._sockets: list[socket.socket] = []
        try:
            self._listener = socket.create_server(("127.0.0.1", 0), backlog=4)
        except OSError as error:
            raise DeviceError(f"No port of 127.0.0.1 can be opened ({error.strerror}).") from error
        self._listener.settimeout(_TICK_S)
        here = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.url = f"{'rtsp' if address.is_rtsp else 'http'}://{here}/"
        # No byte of the target is sent but to a program of this user.
        self._target = address.url(login, at=here if self._carries else None)
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
                protocol, sequence = "HTTP/1.1", _CSEQ.search(request)
                head = ""
                if self._address.is_rtsp:
                    protocol = "RTSP/1.0"
                    head = f"CSeq: {sequence[1].decode('ascii')}\r\n" if sequence else ""
                answer = f"{protocol} 302 Found\r\n{head}Location: {self._target}\r\nContent-Length: 0\r\n"
                connection.sendall(f"{answer}Connection: close\r\n\r\n".encode("ascii"))
                return True
            except OSError:
                continue
            finally:
                self._sockets.remove(connection)
                connection.close()
        return False

    def _carry(self) -> None:
        """Carries the bytes of the second connection to the server through TLS, and back."""
        near = self._accepted()
        if near is None:
            return
        far = self._reached()
        self._sockets.append(far)
        far.settimeout(_REQUEST_TIMEOUT_S)
        poll = select.poll()
        for each in (near, far):
            poll.register(each, select.POLLIN)
        while not self._closing:
            ready = {descriptor for descriptor, _ in poll.poll(1000 * _TICK_S)}
            if near.fileno() in ready and not _moved(near, far):
                return
            if far.fileno() in ready:
                # What TLS has taken from the socket already makes no descriptor ready.
                while True:
                    if not _moved(far, near):
                        return
                    if not far.pending():
                        break

    def _reached(self) -> ssl.SSLSocket:
        address = self._address
        try:
            context = ssl.create_default_context(cafile=address.authorities)
            if not address.verify:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            host = address.host.strip("[]")
            plain = socket.create_connection((host, address.port), timeout=address.connect_s)
        except ssl.SSLError as error:
            self.error = DeviceError(f"'{address.authorities}' holds no certificates of authorities.")
            raise self.error from error
        except OSError as error:
            self.error = DeviceError(f"'{address.label}' cannot be reached ({_reason(error)}).")
            raise
        self._sockets.append(plain)
        try:
            return context.wrap_socket(plain, server_hostname=host)
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


def _moved(source: socket.socket, target: socket.socket) -> bool:
    """Carries what is there; False at the end."""
    try:
        data = source.recv(_READ_BYTES)
    except (ssl.SSLWantReadError, TimeoutError):
        return True
    if data:
        target.sendall(data)
    return bool(data)


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


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__
