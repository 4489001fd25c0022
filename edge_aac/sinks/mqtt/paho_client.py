"""A client of paho-mqtt whose network thread tells when it ends, whatever it ends by."""

from __future__ import annotations

import logging
from collections.abc import Callable

from paho.mqtt.client import Client
from paho.mqtt.enums import MQTTErrorCode

_log = logging.getLogger(__name__)


class WatchedClient(Client):
    """A client that calls :attr:`ended` once its network thread ends.

    paho calls ``on_disconnect`` for the ends that it foresees. A packet that its decoder does not foresee ends the
    thread without that, and a client without its thread looks connected for ever.

    Attributes:
        ended: called in the network thread, as the last thing it does; None: nobody is told.
    """

    ended: Callable[[], None] | None = None

    def loop_forever(self, timeout: float = 1.0, retry_first_connection: bool = False) -> MQTTErrorCode:
        """What the network thread runs, see :meth:`paho.mqtt.client.Client.loop_forever`; it raises nothing."""
        try:
            return super().loop_forever(timeout, retry_first_connection)
        except Exception:
            _log.debug("what came from the broker could not be read", exc_info=True)
            return MQTTErrorCode.MQTT_ERR_PROTOCOL
        finally:
            if self.ended is not None:
                self.ended()
