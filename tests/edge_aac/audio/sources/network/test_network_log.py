"""What is made of ffmpeg's own words: a reason, without addresses; and of its accounts: what was lost."""

from __future__ import annotations

import pytest

from edge_aac.audio.connection import RefusedError
from edge_aac.audio.sources.network.log import NetworkLog
from edge_aac.audio.sources.network.losses import LossMeter

_SECRETS = ("me:hunter2@", "token=hunter2", "hunter2")


def _log(*lines: str) -> NetworkLog:
    log = NetworkLog(label="rtsp://camera/x", secrets=_SECRETS)
    log.feed("".join(f"{line}\n" for line in lines).encode())
    return log


# As ffmpeg 4.2, 5.1 and 7.0 print them.
@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("[rtsp @ 0x1] [error] method DESCRIBE failed: 401 Unauthorized", "refuses the login (401)"),
        ("[http @ 0x1] [warning] HTTP error 403 Forbidden", "refuses the login (403)"),
        ("[http @ 0x1] [warning] HTTP error 404 Not Found", "is not known to its server (404)"),
        ("[rtsp @ 0x1] [error] method SETUP failed: 461 Unsupported transport", "try the other, tcp or udp"),
        ("[rtsp @ 0x1] [error] method PLAY failed: 454 Session Not Found", "has nothing to hear (454)"),
        ("[http @ 0x1] [warning] HTTP error 503 Busy", "answers with error 503"),
        ("[tcp @ 0x1] [error] Failed to resolve hostname me: Name or service not known", "cannot be resolved"),
        ("[tcp @ 0x1] [error] Connection to tcp://127.0.0.1:1 failed: Connection refused", "refuses the connection"),
        ("[tls @ 0x1] [error] Peer certificate failed verification", "certificate that is not valid"),
        ("[in#0 @ 0x1] [error] Error opening input: Connection timed out", "does not answer in time"),
        ("[error] Stream map '0:a:0' matches no streams.", "has no sound"),
        ("[hls @ 0x1] [error] Protocol 'file' not on whitelist 'http'!", "leads to something else"),
        ("[error] http://127.0.0.1:1/: Invalid data found when processing input", "no sound"),
        ("[fatal] Option ca_file not found.", "without TLS"),
    ],
)
def test_a_reason(line: str, reason: str) -> None:
    error = _log("[info] Input #0", line, "[error] Conversion failed!").error("gave no sound")
    assert reason in str(error) and str(error).startswith("'rtsp://camera/x' ")
    assert isinstance(error, RefusedError) is ("login" in reason)


@pytest.mark.parametrize(
    "line",
    [
        "[error] rtsp://me:hunter2@camera/x?token=hunter2: Something",
        "[error] Opening 'http://me:hunter2@camera/x'",
        "[error] user me:hunter2@ of camera",
        "[error] key hunter2, and again hunter2",
        "[error] me%3Ahunter3%40camera",
        "[warning] rtsps://other:hunter3@camera failed",
    ],
)
def test_no_secret_is_quoted(line: str) -> None:
    text = str(_log(line).error("gave no sound"))
    assert "hunter" not in text and "gave no sound (ffmpeg: " in text


def test_nothing_told() -> None:
    assert str(_log().error("has ended the stream")) == "'rtsp://camera/x' has ended the stream."


def test_an_old_status_is_forgotten() -> None:
    log = _log("[http @ 0x1] [warning] HTTP error 404 Not Found", *["[hls @ 0x1] [warning] slow"] * 8)
    assert log.status is None


def test_an_account() -> None:
    log = _log("total_size=1000", "out_time_us=500000", "progress=continue")
    assert log.progress == (1000, 500_000)
    log.feed(b"total_size=N/A\nout_time_us=N/A\n")
    assert log.progress == (1000, 500_000)


@pytest.mark.parametrize(
    ("duration", "file_s"),
    [("00:00:07.00", 7.0), ("N/A", None), ("2097:00:00.00", None)],
)
def test_a_file(duration: str, file_s: float | None) -> None:
    assert _log("[info] Input #0, mp3, from 'x':", f"[info]   Duration: {duration}, start: 0").file_s == file_s


def _lost_s(*ahead_s: float) -> float:
    meter = LossMeter()
    return sum(meter.lost_s(number / 2 + ahead, number / 2) for number, ahead in enumerate(ahead_s, 1))


@pytest.mark.parametrize(
    ("ahead_s", "lost_s"),
    [
        ([0.0] * 20, 0.0),
        ([0.0] * 8 + [0.3] * 8, 0.3),
        ([0.1] * 8 + [0.3] * 8, 0.3),
        ([0.0] * 8 + [0.3] * 8 + [0.5] * 8, 0.5),
        # One of the two is a packet ahead in some accounts.
        ([0.0, 0.06] * 10, 0.0),
        ([0.0, 0.06] * 5 + [0.3, 0.36] * 5, 0.3),
        ([0.0, 0.0, 0.06, 0.06, 0.06, 0.0] * 5, 0.0),
        # A clock that is 1 % off, either way.
        ([0.005 * number for number in range(100)], 0.0),
        ([-0.005 * number for number in range(100)], 0.0),
    ],
)
def test_losses(ahead_s: list[float], lost_s: float) -> None:
    assert _lost_s(*ahead_s) == pytest.approx(lost_s)
