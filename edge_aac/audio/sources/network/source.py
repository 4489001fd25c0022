"""The factory of the schemes ``rtsp``, ``rtsps``, ``http`` and ``https``."""

from __future__ import annotations

import logging
import sys
import threading

from edge_aac.audio.channel_watch import ChannelWatch
from edge_aac.audio.reconnect import OPENING_S, Reconnecting
from edge_aac.audio.sources.address import Address, SourceContext
from edge_aac.audio.sources.network.address import NetworkAddress
from edge_aac.audio.sources.network.credentials import CREDENTIALS, read_login
from edge_aac.audio.sources.network.stream import NetworkStream
from edge_aac.backoff import Backoff
from edge_aac.errors import DeviceError

_log = logging.getLogger(__name__)


def open_network(address: Address, context: SourceContext) -> Reconnecting:
    """Opens a stream of the network.

    Raises:
        UsageError: the address or an option is unusable.
        DeviceError: the stream cannot be heard now, and is not to be waited for; or ffmpeg is not installed.
    """
    server, label = NetworkAddress.of(address), context.label(address)
    if server.login is not None and any(address.uri in word for word in sys.argv):
        _log.warning(
            "%s: every user of this machine can read its password in the list of processes: give it by "
            "credentials=file:PATH, or write the address into the configuration file",
            label,
        )
    opener = NetworkOpener(server, label)
    return opener.source(wait_for_device=context.wait_for_device, stop=context.stop)


class NetworkOpener:
    """Opens one stream, again and again.

    Args:
        address: the server.
        label: the source's name in messages.
    """

    def __init__(self, address: NetworkAddress, label: str) -> None:
        self._address = address
        self._label = label
        self._watch = ChannelWatch(label)
        if address.credentials is not None:
            address.credentials.warn_if_open(CREDENTIALS)

    def __call__(self, closed: threading.Event) -> NetworkStream:
        """Connects to the server.

        Args:
            closed: once set, the opening is given up.

        Raises:
            DeviceError: there is no sound.
        """
        address = self._address
        login = address.login if address.credentials is None else read_login(address.credentials)
        if login is not None and address.is_rtsp and not login.fits_rtsp:
            raise DeviceError(
                f"User and password of '{self._label}' are longer than ffmpeg sends to an RTSP server: 127 characters "
                "once percent-encoded."
            )
        return NetworkStream(address, login, closed, self._watch)

    def source(
        self, *, wait_for_device: bool, backoff: Backoff | None = None, stop: threading.Event | None = None
    ) -> Reconnecting:
        """Gives the source that keeps this stream connected.

        Args:
            wait_for_device: see :class:`~edge_aac.audio.reconnect.Reconnecting`.
            backoff: waiting times between tries; None for the usual ones.
            stop: once set, the opening here and now is given up; None for never.
        """
        address = self._address
        return Reconnecting(
            self._label,
            self,
            wait_for_device=wait_for_device,
            stall_s=address.stall_s,
            # ffmpeg waits for the server, and what leads it there may do so again while it is closed.
            opening_s=OPENING_S + 2 * address.connect_s,
            backoff=backoff,
            stop=stop,
        )
