"""What of a server's answers is passed on, however they are cut into pieces."""

from __future__ import annotations

import random

import pytest

from edge_aac.audio.sources.network.rtsp_answers import RedirectedError, RtspAnswers
from edge_aac.errors import DataError

_STREAM = (
    b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-Length: 31\r\n\r\nRTSP/1.0 302 is in a body\r\n\r\n.."
    b"$\0\0\x0aRTSP/1.0 3$\1\0\0\r\n\r\n"
    b"OPTIONS rtsp://client RTSP/1.0\nCSeq: 4\n\n"
    b"RTSP/1.0 404 Not Found\r\nX: RTSP/1.0 302\r\n\r\n"
)
_REDIRECTION = b"RTSP/1.0 302 Found\r\nlocation:\trtsp://other/x \r\ncseq: 9\r\n\r\n"


@pytest.mark.parametrize("seed", range(20))
def test_all_is_passed_on_up_to_a_redirection(seed: int) -> None:
    chance = random.Random(seed)
    answers, passed, whole = RtspAnswers(), b"", _STREAM + _REDIRECTION
    with pytest.raises(RedirectedError) as caught:
        while whole:
            size = chance.randint(1, 40)
            passed, whole = passed + answers.feed(whole[:size]), whole[size:]
    # What stood before it in its own piece is not passed on: the connection ends.
    assert _STREAM.startswith(passed) and len(_STREAM) - len(passed) <= 40
    assert (caught.value.location, caught.value.sequence) == ("rtsp://other/x", "CSeq: 9\r\n")


def test_nothing_is_held_back_for_good() -> None:
    answers = RtspAnswers()
    assert b"".join(answers.feed(_STREAM[place : place + 1]) for place in range(len(_STREAM))) == _STREAM


def test_what_is_no_rtsp_is_refused() -> None:
    answers = RtspAnswers()
    with pytest.raises(DataError):
        for _ in range(1000):
            answers.feed(b"x" * 1000)
