"""Answers of a language model are kept: none is lost, none is paid for twice."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_aac.errors import DataError, DeviceError
from quantize.data.answer_cache import AnswerCache, answer_key
from quantize.data.llm import LlmClient
from tests.quantize.data.chat_server import ChatServer, Reply, chat_server

MakeClient = Callable[..., LlmClient]


def test_known_answers_need_no_network(chat: ChatServer, client: MakeClient) -> None:
    first = client()
    assert first.complete_all(["a", "b", "a"]) == ["answer to a", "answer to b", "answer to a"]
    assert len(chat.requests) == 2, "equal prompts are one request"
    with chat_server() as gone:
        address = gone.base_url
    # Another client, another address of the same model: as after moving from one provider to another.
    assert client(base_url=address, max_retries=0).complete_all(["b", "a"]) == ["answer to b", "answer to a"]
    assert len(chat.requests) == 2


def test_another_model_or_temperature_is_another_answer(chat: ChatServer, client: MakeClient) -> None:
    for settings in ({}, {"model": "large"}, {"temperature": 0.5}, {"temperature": 1}):
        client(**settings).complete("p")
    assert [(request.body["model"], request.body["temperature"]) for request in chat.requests] == [
        ("small", 1.0),
        ("large", 1.0),
        ("small", 0.5),
    ]
    assert answer_key("small", 1.0, "p") == answer_key("small", 1, "p")


def test_any_text_comes_back_as_it_was(chat: ChatServer, client: MakeClient) -> None:
    text = "one\ntwo ' \" \\ \0 é 犬 🐕"
    chat.script = [Reply(text), Reply("half a pair: \ud83d")]
    assert client().complete("p") == client().complete("p") == text
    assert client().complete("q") == client().complete("q") == "half a pair: ?"
    assert len(chat.requests) == 2


CHILD = """
import sys
from pathlib import Path
from quantize.data.answer_cache import AnswerCache
from quantize.data.llm import LlmClient, LlmEndpoint
endpoint = LlmEndpoint(sys.argv[1], "small", workers=1)
LlmClient(endpoint, AnswerCache(Path(sys.argv[2]))).complete_all(sys.argv[3:])
"""


def child(chat: ChatServer, cache: Path, *prompts: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    return subprocess.Popen([sys.executable, "-c", CHILD, chat.base_url, str(cache), *prompts], env=environment)


def test_a_killed_run_loses_nothing_that_was_paid_for(chat: ChatServer, client: MakeClient, tmp_path: Path) -> None:
    chat.script = [Reply("one"), Reply("two"), Reply(silent=True)]
    killed = child(chat, tmp_path / "cache.sqlite", "a", "b", "c")
    try:
        assert chat.silence.wait(300)
    finally:
        killed.send_signal(signal.SIGKILL)
        killed.wait()
    chat.requests.clear()
    assert client().complete_all(["a", "b", "c"]) == ["one", "two", "answer to c"]
    assert [request.prompt for request in chat.requests] == ["c"]


def test_processes_share_a_cache_at_the_same_time(chat: ChatServer, client: MakeClient, tmp_path: Path) -> None:
    cache = tmp_path / "cache.sqlite"
    prompts = [f"p{number}" for number in range(60)]
    running = [child(chat, cache, *prompts[:40]), child(chat, cache, *prompts[20:])]
    assert [process.wait(300) for process in running] == [0, 0]
    chat.requests.clear()
    assert client().complete_all(prompts) == [f"answer to {prompt}" for prompt in prompts]
    assert chat.requests == []


def test_who_comes_second_takes_over_the_first_answer(tmp_path: Path) -> None:
    one, other = (AnswerCache(tmp_path / "cache.sqlite") for _ in range(2))
    assert one.put("k", "m", "p", "first") == "first"
    assert other.put("k", "m", "p", "second") == "first"
    assert other.get("k") == "first"


def test_a_cache_that_cannot_be_used_is_one_sentence(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"these are no answers " * 100)
    with pytest.raises(DataError, match="no cache of answers"):
        AnswerCache(other)
    assert other.read_bytes() == b"these are no answers " * 100
    with pytest.raises(DeviceError, match="cannot be used"):
        AnswerCache(other / "below a file")
    with pytest.raises(DeviceError, match="cannot be used"):
        AnswerCache(tmp_path)


def test_another_program_may_read_the_cache(tmp_path: Path) -> None:
    cache = AnswerCache(tmp_path / "new" / "folder" / "cache.sqlite")
    cache.put("k", "small", "a prompt", "an answer")
    with sqlite3.connect(tmp_path / "new" / "folder" / "cache.sqlite") as base:
        assert base.execute("SELECT model, prompt, answer FROM answers").fetchall() == [
            ("small", "a prompt", "an answer")
        ]
