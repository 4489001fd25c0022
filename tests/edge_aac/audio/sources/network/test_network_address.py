"""Addresses of the network's sources: what goes to the server, what stays here, and what is shown of neither."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_aac.audio.mixing import Mixing
from edge_aac.audio.sources.address import Address, open_source
from edge_aac.audio.sources.network.address import NetworkAddress
from edge_aac.audio.sources.network.credentials import Login
from edge_aac.credentials import SecretPlace
from edge_aac.errors import UsageError


def _address(uri: str) -> NetworkAddress:
    return NetworkAddress.of(Address.parse(uri))


@pytest.mark.parametrize(
    ("uri", "url"),
    [
        ("rtsp://camera/1", "rtsp://camera:554/1"),
        ("RTSP://camera", "rtsp://camera:554"),
        ("rtsps://camera:8322/1", "rtsps://camera:8322/1"),
        ("http://radio:8000/live.mp3", "http://radio:8000/live.mp3"),
        ("https://[fe80::1]/live", "https://[fe80::1]:443/live"),
        ("http://bücher.example/x", "http://xn--bcher-kva.example:80/x"),
        ("http://radio/a b%20c", "http://radio:80/a%20b%20c"),
        ("http://radio/;stream.nsv", "http://radio:80/;stream.nsv"),
        # Dahua's: the channel is the camera's.
        ("rtsp://c/cam/realmonitor?channel=1&subtype=0", "rtsp://c:554/cam/realmonitor?channel=1&subtype=0"),
        ("rtsp://c/x?channel=1&transport=udp&subtype=0#channel=2", "rtsp://c:554/x?channel=1&subtype=0"),
        ("rtsp://c/x?transport=udp", "rtsp://c:554/x"),
        ("rtsp://c/x?empty&==&a", "rtsp://c:554/x?empty&==&a"),
        ("rtsp://c/x?%74ransport=udp", "rtsp://c:554/x?%74ransport=udp"),
        ("http://r/x\r\nEvil: 1", "http://r:80/x%0D%0AEvil:%201"),
    ],
)
def test_what_the_server_is_asked_for(uri: str, url: str) -> None:
    assert _address(uri).url(None) == url


def test_options() -> None:
    address = _address("rtsp://c/x?transport=udp&stall_s=4&connect_s=20&credentials=file:/a%20b#channel=2")
    assert (address.transport, address.stall_s, address.connect_s) == ("udp", 4.0, 20.0)
    assert address.credentials == SecretPlace("file", "/a b")
    assert address.mixing == Mixing(channel=2)
    address = _address("https://r/x#ca=/etc/ca.pem&mix=mean&credentials=env:LOGIN")
    assert (address.verify, address.authorities, address.mixing) == (True, Path("/etc/ca.pem"), Mixing("mean"))
    assert address.credentials == SecretPlace("env", "LOGIN")
    assert not _address("https://r/x?tls_verify=no").verify


def test_defaults() -> None:
    assert [_address(uri).stall_s for uri in ("rtsp://c/x", "http://r/x", "https://r/x.M3U8?a=1")] == [2, 5, 30]
    address = _address("rtsp://c/x")
    assert (address.transport, address.verify, address.mixing, address.login) == ("tcp", True, None, None)


@pytest.mark.parametrize(
    ("user_info", "login"),
    [
        ("me:hunter2", Login("me", "hunter2")),
        ("me", Login("me", "")),
        ("me:p%40ss%2Fw%3Ard", Login("me", "p@ss/w:rd")),
        ("me:p@ss", Login("me", "p@ss")),
        ("me:50%", Login("me", "50%")),
        ("", Login()),
    ],
)
def test_user_info(user_info: str, login: Login) -> None:
    address = _address(f"rtsp://{user_info}@camera/x")
    assert address.login == login
    assert NetworkAddress.of(Address.parse(address.url(login))).login == (login if login.user else None)


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("rtsp:camera", "has no host"),
        ("rtsp://", "no usable host"),
        ("rtsp://:554/x", "no usable host"),
        ("http://a b/x", "no usable host"),
        ("http://host\r\n/x", "no usable host"),
        ("rtsp://camera:0/x", "port"),
        ("rtsp://camera:65536/x", "port"),
        ("rtsp://admin:p/hunter2@camera/x", "percent-encoded"),
        ("rtsp://admin:7/hunter2@camera/x", "percent-encoded"),
        ("rtsp://admin:p#hunter2@camera/x", "percent-encoded"),
        ("rtsp://c/x#hunter2", "not an option"),
        ("rtsp://c/x#transprot=hunter2", "'transprot' is not an option"),
        ("rtsp://c/x?transport=hunter2", "transport=tcp or transport=udp"),
        ("rtsp://c/x?transport=tcp#transport=tcp", "twice"),
        ("rtsps://c/x?transport=udp", "of rtsp:// alone"),
        ("http://r/x?transport=tcp", "of rtsp:// alone"),
        ("http://r/x?tls_verify=no", "no certificate"),
        ("https://r/x?tls_verify=no&ca=/x", "exclude each other"),
        ("https://r/x?tls_verify=hunter2", "tls_verify=yes or tls_verify=no"),
        ("rtsp://c/x?stall_s=0", "from 0.5 to 600"),
        ("rtsp://c/x?connect_s=nan", "from 0.5 to 600"),
        ("rtsp://c/x?credentials=me:hunter2", "credentials=file:PATH or credentials=env:NAME"),
        ("rtsp://me:hunter2@c/x?credentials=env:X", "twice"),
        ("rtsp://c/x#channel=1&mix=mean", "exclude each other"),
    ],
)
def test_what_is_unusable(uri: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason) as caught:
        open_source(uri)
    assert "hunter2" not in str(caught.value)


def test_nothing_shows_a_secret() -> None:
    address = _address("rtsp://me:hunter2@camera/x?token=hunter2")
    assert "hunter2" not in f"{address} {address.login} {address.label}"
    assert {"hunter2", "token=hunter2", "me:hunter2@"} <= set(address.secrets(address.login))


def test_a_token_goes_into_the_query() -> None:
    assert _address("http://r/x").url(Login(query="token=1")) == "http://r:80/x?token=1"
    assert _address("http://r/x?a=b").url(Login(query="token=1")) == "http://r:80/x?a=b&token=1"


def test_another_place() -> None:
    address = _address("rtsps://camera/x?a=b")
    assert address.url(Login("me", "a b"), at="127.0.0.1:9") == "rtsp://me:a%20b@127.0.0.1:9/x?a=b"
