"""`edge-aac doctor`: the links that are configured are opened, and whoever says HELLO is named."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from functools import partial

from edge_aac.doctor.contract import Context, Finding, Part

_HELLO_S = 6.5
_LIMIT_S = 20.0


def check(context: Context) -> Sequence[Part]:
    """See :data:`edge_aac.doctor.contract.Check`."""
    from edge_aac.audio.sources.address import Address
    from edge_aac.streaming.settings import SourceSettings, StreamSettings, configured_sources

    settings = context.settings
    sources = configured_sources(settings.get(StreamSettings), settings.tables(SourceSettings))
    links = [source.address for source in sources if Address.parse(source.address).scheme in {"serial", "udp"}]
    if not links:
        return [Part(lambda: [Finding("ok", "no microcontroller is configured")])]
    return [Part(partial(_listened, link), Address.parse(link).label, _LIMIT_S) for link in links]


def _listened(text: str) -> Iterator[Finding]:
    from edge_aac.audio.sources.address import Address
    from edge_aac.doctor.service import is_running
    from edge_aac.errors import DeviceError
    from firmware_bridge.address import BridgeAddress
    from firmware_bridge.registry import registry
    from firmware_bridge.seen import read_seen, seen_file

    address = BridgeAddress.of(Address.parse(text))
    try:
        link = registry.open(address.endpoint, wait=False)
    except DeviceError:
        if not is_running():
            raise
        seen = [one.name or one.id for one in read_seen(seen_file()) if one.link == address.endpoint.label]
        names = f"; {', '.join(seen)} said HELLO to it" if seen else ""
        yield Finding("ok", f"the service, which runs, has the link{names}")
        return
    try:
        deadline_s = time.monotonic() + _HELLO_S
        while time.monotonic() < deadline_s and not (address.device and link.devices):
            time.sleep(0.1)
        if link.devices:
            yield Finding("ok", ", ".join(f"{one.label} ({one.id_text})" for one in link.devices) + " said HELLO")
        else:
            refused = f", and {link.refused} packets were refused" if link.refused else ""
            mend = "see its power, cable and key, and `edge-aac bridge listen`"
            yield Finding("warning", f"no device said HELLO within {_HELLO_S:g} s{refused}", mend)
        if address.endpoint.kind == "udp" and address.endpoint.keys is None:
            yield Finding("warning", "it takes frames from anybody in the network (auth=none)", "give the devices keys")
    finally:
        registry.release(link)
