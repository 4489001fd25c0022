"""The language model's client, against a real server on this machine: nothing is lost, nothing is paid for twice."""

from __future__ import annotations

import email.utils
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_aac.errors import ConfigError, DeviceError
from quantize.data.answer_cache import AnswerCache, answer_key
from quantize.data.llm import API_KEY_VARIABLE, LONGEST_WAIT_S, LlmClient, LlmEndpoint
from tests.quantize.data.chat_server import ChatServer, Reply, chat_server

KEY = "sk-a-key-that-nobody-may-see"
MakeClient = Callable[..., LlmClient]


def test_the_request_and_the_answer(chat: ChatServer, client: MakeClient, waits: list[float]) -> None:
    assert client(temperature=0.7).complete("a dog & a cät") == "answer to a dog & a cät"
    [request] = chat.requests
    assert request.path == "/v1/chat/completions"
    assert request.authorization == f"Bearer {KEY}"
    assert request.body == {
        "model": "small",
        "temperature": 0.7,
        "messages": [{"role": "user", "content": "a dog & a cät"}],
    }
    assert waits == []


def test_without_a_key_none_is_sent(chat: ChatServer, client: MakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(API_KEY_VARIABLE)
    assert client().complete("p") == "answer to p"
    assert chat.requests[0].authorization is None


def test_a_netrc_file_does_not_replace_the_key(
    chat: ChatServer, client: MakeClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login someone password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    client().complete("p")
    assert chat.requests[0].authorization == f"Bearer {KEY}"


def test_a_slash_at_the_end_of_the_address_makes_no_difference(chat: ChatServer, client: MakeClient) -> None:
    client(base_url=chat.base_url + "/").complete("p")
    assert chat.requests[0].path == "/v1/chat/completions"


def test_the_server_says_how_long_to_wait(chat: ChatServer, client: MakeClient, waits: list[float]) -> None:
    chat.script = [Reply(status=429, headers={"Retry-After": "37"}), Reply("at last")]
    assert client().complete("p") == "at last"
    assert waits == [37.0]
    assert len(chat.requests) == 2


def test_the_server_may_say_it_as_a_date(chat: ChatServer, client: MakeClient, waits: list[float]) -> None:
    at = email.utils.formatdate(time.time() + 300, usegmt=True)
    past = email.utils.formatdate(time.time() - 300, usegmt=True)
    chat.script = [Reply(status=503, headers={"Retry-After": value}) for value in (at, past, "soon", "nan")]
    assert client().complete("p") == "answer to p"
    # The first is a date rounded down to a second, and some time may pass before it is read.
    assert 200 < waits[0] <= 300
    assert waits[1] == 0.0
    assert 2.0 <= waits[2] <= 4.0, "what cannot be read counts for nothing: the third wait of the doubling ones"
    assert 4.0 <= waits[3] <= 8.0


def test_a_server_that_asks_for_hours_ends_the_run(chat: ChatServer, client: MakeClient, waits: list[float]) -> None:
    chat.script = [Reply(status=429, headers={"Retry-After": "86400"})]
    with pytest.raises(DeviceError, match="left alone for 86400 s .* answers so far are kept"):
        client().complete("p")
    assert waits == []


def test_waits_double_with_jitter_up_to_a_limit(chat: ChatServer, client: MakeClient, waits: list[float]) -> None:
    chat.script = [Reply(status=500)] * 9
    assert client(max_retries=9).complete("p") == "answer to p"
    for attempt, wait_s in enumerate(waits):
        longest = min(2.0**attempt, LONGEST_WAIT_S)
        assert 0.5 * longest <= wait_s <= longest
    assert len(waits) == 9
    assert len({wait_s / min(2.0**attempt, LONGEST_WAIT_S) for attempt, wait_s in enumerate(waits)}) > 1


def test_when_tries_run_out_what_was_answered_is_kept(
    chat: ChatServer, client: MakeClient, waits: list[float], tmp_path: Path
) -> None:
    chat.script = [Reply("one"), Reply("two"), *[Reply(status=502)] * 4]
    with pytest.raises(DeviceError) as caught:
        client(max_retries=3).complete_all(["a", "b", "c", "d"])
    message = str(caught.value)
    assert "gives no answer (status 502, 4 tries)" in message
    assert "answers so far are kept" in message
    assert "\n" not in message
    assert len(waits) == 3, "no wait after the last try"
    assert len(AnswerCache(tmp_path / "cache.sqlite")) == 2
    chat.requests.clear()
    assert client().complete_all(["a", "b", "c", "d"]) == ["one", "two", "answer to c", "answer to d"]
    assert [request.prompt for request in chat.requests] == ["c", "d"]


@pytest.mark.parametrize(
    "body",
    [
        b"<html>welcome to this network</html>",
        b"{",
        b"[]",
        b'{"choices": []}',
        b'{"choices": [{"message": "hello"}]}',
        b'{"choices": [{"message": {"content": 7}}]}',
        b'{"error": {"message": "upstream", "code": 502}}',
    ],
)
def test_an_answer_that_is_none_is_tried_again_and_never_kept(
    chat: ChatServer, client: MakeClient, body: bytes, tmp_path: Path
) -> None:
    chat.script = [Reply(body=body)]
    assert client().complete("p") == "answer to p"
    chat.script = [Reply(body=body)] * 2
    with pytest.raises(DeviceError, match=r"what it answers is no chat completion, 2 tries"):
        client(max_retries=1).complete("q")
    assert len(AnswerCache(tmp_path / "cache.sqlite")) == 1


def test_a_broken_connection_is_tried_again(chat: ChatServer, client: MakeClient, waits: list[float]) -> None:
    chat.script = [Reply("half", broken=True)]
    assert client().complete("p") == "answer to p"
    assert len(waits) == 1


def test_silence_is_tried_again(chat: ChatServer, client: MakeClient, waits: list[float]) -> None:
    chat.script = [Reply(silent=True)]
    # On a busy machine a prompt answer may count as silence too.
    assert client(timeout_s=0.3, max_retries=500).complete("p") == "answer to p"
    assert waits


def test_nobody_there_is_one_sentence(client: MakeClient) -> None:
    with chat_server() as gone:
        address = gone.base_url
    with pytest.raises(DeviceError, match=r"gives no answer \(the connection fails, 3 tries\)"):
        client(base_url=address, max_retries=2).complete("p")


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply(status=401, body=f'{{"error": {{"message": "bad key {KEY}"}}}}'.encode()), f"set {API_KEY_VARIABLE}"),
        (Reply(status=403), f"set {API_KEY_VARIABLE}"),
        (Reply(status=404), "no model 'small' .*correct the address or the model"),
        (Reply(status=301, headers={"Location": "/elsewhere"}), "correct the address"),
        (Reply(status=400, body=b'{"error": {"message": "temperature: too hot"}}'), "temperature: too hot"),
        (Reply(status=422, body=f'{{"error": {{"message": "{"x" * 190} {KEY}"}}}}'.encode()), "refuses what it is"),
        (Reply(status=402, body=b"pay"), r"\(402\)"),
    ],
)
def test_a_refusal_is_final(chat: ChatServer, client: MakeClient, waits: list[float], reply: Reply, words: str) -> None:
    chat.script = [reply]
    with pytest.raises(ConfigError, match=words) as caught:
        client().complete("p")
    assert len(chat.requests) == 1
    assert waits == []
    assert "sk-a" not in str(caught.value)


def test_words_that_the_endpoint_does_not_take_are_an_empty_answer(chat: ChatServer, client: MakeClient) -> None:
    refused = Reply(status=400, body=b'{"error": {"message": "no guns", "code": "content_filter"}}')
    chat.script = [refused, Reply(body=b'{"choices": [{"message": {"content": null}}]}')]
    assert client().complete_all(["a gun fires", "nothing", "a dog"]) == ["", "", "answer to a dog"]
    assert client().complete_all(["a gun fires", "nothing", "a dog"]) == ["", "", "answer to a dog"]
    assert len(chat.requests) == 3, "it is not asked again for what it does not say"


def test_requests_under_way_are_bounded_and_answers_keep_their_order(chat: ChatServer, client: MakeClient) -> None:
    together = threading.Barrier(3)

    def answer(prompt: str) -> Reply:
        together.wait(timeout=300)  # passes only where three requests are under way at once
        return Reply(prompt.upper())

    chat.answer = answer
    progress: list[tuple[int, int]] = []
    prompts = [f"prompt {number}" for number in range(12)]
    answers = client(workers=3).complete_all(prompts, lambda done, total: progress.append((done, total)))
    assert answers == [prompt.upper() for prompt in prompts]
    assert chat.max_at_once == 3
    assert progress == [(number, 12) for number in range(1, 13)]


def test_a_refusal_stops_the_others_but_keeps_what_is_under_way(
    chat: ChatServer, client: MakeClient, tmp_path: Path
) -> None:
    refused = threading.Event()

    def answer(prompt: str) -> Reply:
        if prompt == "bad":
            refused.set()
            return Reply(status=401)
        refused.wait(300)
        time.sleep(0.1)
        return Reply(prompt)

    chat.answer = answer
    with pytest.raises(ConfigError):
        client(workers=2).complete_all(["slow", "bad", *(f"later {number}" for number in range(50))])
    assert AnswerCache(tmp_path / "cache.sqlite").get(answer_key("small", 1.0, "slow")) == "slow"
    assert len(chat.requests) < 50, "the rest is not asked for, however late the refusal was seen"


def test_by_default_a_wait_ends_when_another_request_fails_for_good(chat: ChatServer, tmp_path: Path) -> None:
    waiting = threading.Event()

    def answer(prompt: str) -> Reply:
        if prompt == "patient":
            waiting.set()
            return Reply(status=429, headers={"Retry-After": "500"})
        waiting.wait(300)
        time.sleep(0.1)
        return Reply(status=404)

    chat.answer = answer
    endpoint = LlmEndpoint(chat.base_url, "small", workers=2)
    # Were the 500 s waited for, the test would be stopped long before.
    with pytest.raises(ConfigError, match="404"):
        LlmClient(endpoint, AnswerCache(tmp_path / "c")).complete_all(["patient", "wrong"])
    assert len(chat.requests) == 2


def test_the_key_is_nowhere_but_in_the_request(
    chat: ChatServer,
    client: MakeClient,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(0)
    made = client(max_retries=1)
    made.complete("p")
    chat.script = [Reply(status=500)] * 2
    with pytest.raises(DeviceError) as caught:
        made.complete("q")
    made.cache.close()
    shown = capfd.readouterr()
    assert caplog.records, "urllib3 logs each request at this level"
    texts = [caplog.text, shown.out, shown.err, str(caught.value), repr(made), repr(made.endpoint)]
    assert not any(KEY in text for text in texts)
    assert not any(KEY.encode() in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


@pytest.mark.parametrize("key", ["sk-ä", "sk-a\nb", "sk-a\x7f"])
def test_a_key_that_cannot_be_sent_is_refused_unseen(
    client: MakeClient, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv(API_KEY_VARIABLE, key)
    with pytest.raises(ConfigError, match="copy it again") as caught:
        client()
    assert "sk-" not in str(caught.value)


def test_a_line_break_around_the_key_is_not_part_of_it(
    chat: ChatServer, client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(API_KEY_VARIABLE, f"{KEY}\n")
    client().complete("p")
    assert chat.requests[0].authorization == f"Bearer {KEY}"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"base_url": "host/v1"}, "give https://HOST/v1"),
        ({"base_url": "ftp://host"}, "give https://HOST/v1"),
        ({"base_url": "http://[host"}, "give https://HOST/v1"),
        ({"base_url": "http://host:port/v1"}, "give https://HOST/v1"),
        ({"base_url": "https://me:secret@host/v1"}, API_KEY_VARIABLE),
        ({"base_url": "https://host/v1?key=secret"}, API_KEY_VARIABLE),
        ({"model": ""}, "no language model is named"),
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"timeout_s": 0.0}, "timeout"),
        ({"max_retries": -1}, "retries"),
        ({"workers": 0}, "requests at a time"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        LlmEndpoint(**{"base_url": "https://host/v1", "model": "small", **settings})  # type: ignore[arg-type]
    assert "secret" not in str(caught.value)
