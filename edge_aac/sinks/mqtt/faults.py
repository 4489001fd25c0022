"""Why a broker is not reached, or refuses what it is sent: each as one sentence that names the mend."""

from __future__ import annotations

import re
import socket
import ssl
from dataclasses import dataclass
from typing import Literal

from edge_aac.sinks.mqtt.settings import Broker

Stage = Literal["login", "name", "tcp", "tls", "websocket", "connack", "publish", "receive"]

BAD_PROTOCOL = 0x84
BAD_LOGIN = (0x86, 0x87, 0x8C)
TAKEN_OVER = 0x8E
_BAD_CLIENT, _BANNED = 0x85, 0x8A
NO_RETAIN = 0x9A
NOT_AUTHORIZED = 0x87
TOO_LARGE = 0x95
QUOTA = 0x97
FAILURE = 0x80
"""The lowest reason code of a failure (MQTT 5, 2.4)."""

# OpenSSL's X509_V_ERR_…
_NOT_YET_VALID, _EXPIRED = 9, 10
_UNKNOWN_AUTHORITY = {2, 18, 19, 20, 21}
_OTHER_NAME = {62, 64}

_CLIENT_CERTIFICATE = re.compile(r"CERTIFICATE_REQUIRED|HANDSHAKE_FAILURE|BAD_CERTIFICATE", re.I)
_ALERT = re.compile(r"\[SSL: [^\]]*ALERT[^\]]*\]", re.I)


@dataclass(frozen=True)
class Fault:
    """Why there is no connection, or no delivery.

    Attributes:
        stage: how far it came.
        sentence: what is wrong and what mends it, without its full stop.
        refused: whether trying again soon is of no use: the broker knows the client, and refuses it.
        code: MQTT's reason code; 0 where the broker gave none.
        hopeless: whether the message can never be delivered, as one that is longer than the broker allows.
    """

    stage: Stage
    sentence: str
    refused: bool = False
    code: int = 0
    hopeless: bool = False


class BrokerError(Exception):
    """There is no connection, or no delivery.

    Args:
        fault: why.
    """

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.sentence)
        self.fault = fault


def fault_of_opening(error: Exception, broker: Broker) -> Fault:
    """Why a connection could not be made, from what the socket, OpenSSL or the WebSocket raised."""
    where = broker.label
    if isinstance(error, (socket.gaierror, UnicodeError)):
        return Fault(
            "name",
            f"the name '{broker.host}' of the broker is not found ({_reason(error)}): correct the address, or the "
            "network's name server",
        )
    if isinstance(error, ssl.SSLCertVerificationError):
        return _fault_of_certificate(error, broker)
    if isinstance(error, ssl.SSLError):
        return fault_of_tls(str(error), broker)
    if isinstance(error, ConnectionRefusedError):
        return Fault("tcp", f"nothing listens at {where}: start the broker, or correct host and port")
    if isinstance(error, TimeoutError):
        return Fault("tcp", f"{where} does not answer: start the broker, or let its port through the firewall")
    if isinstance(error, (ConnectionError, EOFError)):
        return _fault_of_end(error, broker)
    return Fault("tcp", f"{where} is not reached ({_reason(error)}): see the network and the broker's log")


def _fault_of_end(error: Exception, broker: Broker) -> Fault:
    """Why a server has ended a connection that was being agreed on."""
    where = broker.label
    if broker.path is not None and "websocket" in str(error).lower():
        return Fault("websocket", f"{where} speaks no MQTT over WebSocket at '{broker.path}': correct port and path")
    if broker.tls:
        return Fault(
            "tls", f"{where} ends the connection before TLS is agreed: correct the port, or use mqtt:// or ws://"
        )
    return Fault("tcp", f"{where} closes the connection at once: correct the port, or see the broker's log")


def fault_of_tls(text: str, broker: Broker) -> Fault:
    """Why encryption failed, from what OpenSSL says of it."""
    where = broker.label
    if _CLIENT_CERTIFICATE.search(text):
        return Fault(
            "tls",
            f"{where} does not take this client's certificate, or wants one: give 'certificate' and 'key' that the "
            "broker's authority has signed",
            refused=True,
        )
    if _ALERT.search(text):
        return Fault(
            "tls", f"{where} refuses the encrypted connection ({_of_openssl(text)}): see the broker's log", True
        )
    if "WRONG_VERSION_NUMBER" in text or "HTTP_REQUEST" in text or "UNEXPECTED_EOF" in text.upper():
        return Fault("tls", f"{where} does not speak TLS: correct the port, or use mqtt:// or ws://")
    return Fault("tls", f"{where}: TLS fails ({_of_openssl(text)}): see the broker's log")


def is_of_tls(text: str) -> bool:
    """Whether a line of paho's log tells of a fault of TLS."""
    return "[SSL" in text


def _fault_of_certificate(error: ssl.SSLCertVerificationError, broker: Broker) -> Fault:
    where = broker.label
    if error.verify_code == _EXPIRED:
        return Fault("tls", f"the certificate of {where} has expired: renew it at the broker, or set this clock")
    if error.verify_code == _NOT_YET_VALID:
        return Fault("tls", f"the certificate of {where} is not valid yet: set this machine's clock")
    if error.verify_code in _OTHER_NAME or "mismatch" in str(error):
        return Fault(
            "tls", f"the certificate of {where} is of another host: use the name that stands in it as the address"
        )
    if error.verify_code in _UNKNOWN_AUTHORITY:
        return Fault(
            "tls", f"the certificate of {where} is signed by an authority that is not trusted: give its file as 'ca'"
        )
    return Fault("tls", f"the certificate of {where} is refused ({error.verify_message}): renew it at the broker")


def fault_of_connack(code: int, name: str, broker: Broker, client: str) -> Fault:
    """Why the broker refused the client.

    Args:
        code: reason code of MQTT 5, into which those of MQTT 3.1.1 were put.
        name: its name.
        broker: the broker's address.
        client: name of the client.
    """
    where = broker.label
    if code in BAD_LOGIN:
        sentence = f"the broker at {where} refuses user and password ({name}): correct 'credentials'"
        return Fault("connack", sentence, True, code)
    if code == BAD_PROTOCOL:
        return Fault(
            "connack", f"the broker at {where} does not know this version of MQTT: set 'protocol'", False, code
        )
    if code == _BAD_CLIENT:
        sentence = f"the broker at {where} refuses the client's name '{client}': correct 'client_id'"
        return Fault("connack", sentence, True, code)
    if code == _BANNED:
        return Fault("connack", f"the broker at {where} has banned this client: see the broker's log", True, code)
    return Fault("connack", f"the broker at {where} refuses the connection ({name}): see its log", False, code)


def fault_of_loss(code: int, name: str, broker: Broker, client: str) -> Fault:
    """Why a connection ended that was there, by the broker's or paho's reason code."""
    if code == TAKEN_OVER:
        return Fault(
            "connack",
            f"another client has connected to {broker.label} as '{client}': give one of the devices another name or "
            "'client_id'",
            refused=True,
            code=code,
        )
    return Fault("tcp", f"the connection to {broker.label} was lost ({name})", code=code)


def fault_of_silence(broker: Broker) -> Fault:
    """Why a connection is given up whose broker has not confirmed a message for long."""
    return Fault("tcp", f"{broker.label} confirms nothing any more: the connection is made anew")


def fault_of_short_lives(broker: Broker, client: str) -> Fault:
    """Why each connection is lost soon: brokers that end one for another of the same client do not always say so."""
    return Fault(
        "connack",
        f"{broker.label} ends each connection soon: another client may connect as '{client}' too, so give one of them "
        "another name or 'client_id'; else see the broker's log",
    )


def fault_of_publish(code: int, name: str, topic: str) -> Fault:
    """Why the broker refused a message."""
    if code == NOT_AUTHORIZED:
        mend = "allow it in the broker's ACL"
    elif code == TOO_LARGE:
        mend = "raise the broker's limit"
    elif code == QUOTA:
        mend = "see the broker's quota"
    else:
        mend = "see the broker's log"
    sentence = f"the broker refuses messages for the topic '{topic}' ({name}): {mend}"
    return Fault("publish", sentence, True, code, hopeless=code == TOO_LARGE)


def fault_of_subscription(code: int, name: str, topics: str) -> Fault:
    """Why the broker refused a subscription."""
    return Fault(
        "receive",
        f"the broker refuses the subscription to '{topics}' ({name}): allow it in the broker's ACL",
        True,
        code,
    )


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__


def _of_openssl(text: str) -> str:
    """OpenSSL's own words: ``certificate verify failed`` of ``[SSL: …] certificate verify failed (_ssl.c:1000)``."""
    return re.sub(r"\[[^\]]*\]\s*|\s*\(_ssl\.c:\d+\)", "", text).strip() or "unknown fault"
