"""A language model's server on this machine, and its client."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from quantize.data.answer_cache import AnswerCache
from quantize.data.llm import API_KEY_VARIABLE, LlmClient, LlmEndpoint
from tests.quantize.data.chat_server import ChatServer, chat_server

KEY = "sk-a-key-that-nobody-may-see"


MakeClient = Callable[..., LlmClient]


@pytest.fixture
def chat(monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatServer]:
    monkeypatch.setenv(API_KEY_VARIABLE, KEY)
    with chat_server() as server:
        yield server


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def client(chat: ChatServer, tmp_path: Path, waits: list[float]) -> MakeClient:
    def make(**settings: object) -> LlmClient:
        settings = {"base_url": chat.base_url, "model": "small", "timeout_s": 300.0, "workers": 1, **settings}
        return LlmClient(LlmEndpoint(**settings), AnswerCache(tmp_path / "cache.sqlite"), waits.append)  # type: ignore[arg-type]

    return make
