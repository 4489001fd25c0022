"""A connection that may take long, by its address, is not taken for one that hangs."""

from __future__ import annotations

import threading
from typing import NoReturn

import pytest

from edge_aac.audio.reconnect import OPENING_S
from edge_aac.audio.sources.address import Address, SourceContext
from edge_aac.audio.sources.network.source import open_network
from edge_aac.errors import DeviceError


@pytest.mark.parametrize("scheme", ["rtsp", "https"])
def test_what_the_address_allows_is_allowed(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    allowed: list[float] = []

    def stream(_address: object, _login: object, closed: threading.Event, _watch: object) -> NoReturn:
        allowed.append(source.heartbeat.allowance_s)
        closed.set()
        raise DeviceError("nobody answers")

    monkeypatch.setattr("edge_aac.audio.sources.network.source.NetworkStream", stream)
    address = Address.parse(f"{scheme}://192.0.2.1/yard#connect_s=600&stall_s=400")
    source = open_network(address, SourceContext(wait_for_device=True))
    assert source.read() is None
    assert allowed == [OPENING_S + 1200.0] and source.stall_s == 400.0
