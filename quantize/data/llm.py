"""Asks a language model behind any OpenAI-compatible chat endpoint, and pays for no answer twice."""

from __future__ import annotations

import email.utils
import math
import os
import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

import requests

from edge_aac.errors import ConfigError, DeviceError
from quantize.data.answer_cache import AnswerCache, answer_key

API_KEY_VARIABLE = "EDGE_AAC_LLM_API_KEY"
"""Environment variable of the key; servers on this machine often need none."""

FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0
"""The wait before the second try, doubled for each further one, and where doubling ends."""

LONGEST_RETRY_AFTER_S = 600.0
"""A server that asks for more patience than this ends the run; the next one goes on where it stopped."""

KEPT = "answers so far are kept, and the same command goes on from there"
OK, BAD_REQUEST, UNAUTHORIZED, FORBIDDEN, NOT_FOUND, SERVER_FAULT = 200, 400, 401, 403, 404, 500
# Request timeout, too early, too many requests: the 4xx that another try may mend.
PASSING = frozenset({408, 425, 429})


@dataclass(frozen=True)
class LlmEndpoint:
    """The endpoint of a language model, and how it is called.

    Attributes:
        base_url: address before ``/chat/completions``, as ``https://host/v1``.
        model: name of the model at the endpoint.
        temperature: temperature of the model's sampling; 1 is what such endpoints take where nothing is said.
        timeout_s: silence after which a try counts as failed.
        max_retries: further tries after the first.
        workers: requests under way at the same time.
    """

    base_url: str
    model: str
    temperature: float = 1.0
    timeout_s: float = 60.0
    max_retries: int = 6
    workers: int = 4

    def __post_init__(self) -> None:
        address = _address(self.base_url)
        if address.scheme not in {"http", "https"} or not address.hostname:
            raise ConfigError(f"{_shown(self.base_url)!r} is no address of a language model: give https://HOST/v1")
        if "@" in address.netloc or address.query or address.fragment:
            raise ConfigError(
                f"the address {_shown(self.base_url)} holds more than host and path: "
                f"leave it out, and give a key in {API_KEY_VARIABLE}"
            )
        if not self.model:
            raise ConfigError("no language model is named: give the name that its endpoint knows")
        if not (math.isfinite(self.temperature) and self.temperature >= 0.0):
            raise ConfigError(f"a temperature of {self.temperature} makes no sense: give 0 or more")
        if not (self.timeout_s > 0.0 and self.max_retries >= 0 and self.workers >= 1):
            raise ConfigError(
                f"a timeout of {self.timeout_s} s, {self.max_retries} retries and {self.workers} requests at a time "
                "cannot be: give more than 0 s, 0 or more retries, 1 request or more"
            )

    @property
    def url(self) -> str:
        return self.base_url.rstrip("/") + "/chat/completions"


class LlmClient:
    """Asks, retries, and remembers.

    Args:
        endpoint: whom to ask.
        cache: answers that were paid for; the key never gets there.
        sleep: waits so many seconds; None: until another request fails for good, but no longer.

    Raises:
        ConfigError: the key in the environment cannot be sent.
    """

    def __init__(self, endpoint: LlmEndpoint, cache: AnswerCache, sleep: Callable[[float], None] | None = None) -> None:
        self.endpoint = endpoint
        self.cache = cache
        self._sleep = sleep
        self._authorise = _Bearer(os.environ.get(API_KEY_VARIABLE, "").strip())
        self._local = threading.local()

    def complete(self, prompt: str) -> str:
        """The model's answer to a prompt, word for word; see :meth:`complete_all`."""
        return self.complete_all([prompt])[0]

    def complete_all(self, prompts: Sequence[str], progress: Callable[[int, int], None] | None = None) -> list[str]:
        """Answers in the order of the prompts; equal prompts are asked once, known ones not at all.

        Args:
            prompts: each a message of its own.
            progress: function that is called after each new answer with the number of answers and of prompts.

        Raises:
            ConfigError: the endpoint refuses key, address, model or request; no other try would help.
            DeviceError: it fails for good. In both cases every answer that came before is in the cache.
        """
        model, temperature = self.endpoint.model, self.endpoint.temperature
        keys = {prompt: answer_key(model, temperature, prompt) for prompt in prompts}
        answers = {prompt: self.cache.get(key) for prompt, key in keys.items()}
        missing = [prompt for prompt, answer in answers.items() if answer is None]
        stop = threading.Event()

        def answer(prompt: str) -> str:
            try:
                return self.cache.put(keys[prompt], model, prompt, self._complete(prompt, stop))
            except Exception:
                stop.set()  # before this thread takes up another prompt
                raise

        with ThreadPoolExecutor(self.endpoint.workers) as pool:
            futures = {pool.submit(answer, prompt): prompt for prompt in missing}
            try:
                for done, future in enumerate(as_completed(futures), 1):
                    try:
                        answers[futures[future]] = future.result()
                    except _Stopped:
                        continue  # what stopped it is still to come
                    if progress is not None:
                        progress(done, len(missing))
            except BaseException:
                # Those under way may still answer, and what they cost is not lost.
                stop.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return [answers[prompt] or "" for prompt in prompts]

    def _complete(self, prompt: str, stop: threading.Event) -> str:
        fault = ""
        for attempt in range(self.endpoint.max_retries + 1):
            if stop.is_set():
                raise _Stopped
            wait_s = min(FIRST_WAIT_S * 2.0**attempt, LONGEST_WAIT_S) * random.uniform(0.5, 1.0)
            try:
                response = self._post(prompt)
            except requests.exceptions.SSLError as error:
                raise DeviceError(
                    f"the certificate of {self.endpoint.url} is not trusted: check the address and this machine's clock"
                ) from error
            except requests.Timeout:
                fault = f"no answer within {self.endpoint.timeout_s:g} s"
            except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError):
                fault = "the connection fails"
            except requests.RequestException as error:
                raise ConfigError(
                    f"{self.endpoint.url} cannot be asked ({type(error).__name__}): correct it"
                ) from error
            else:
                status = response.status_code
                if status != OK and status not in PASSING and status < SERVER_FAULT:
                    return self._refused(response)
                answer = _content(response) if status == OK else None
                if answer is not None:
                    return answer
                fault = "what it answers is no chat completion" if status == OK else f"status {status}"
                wait_s = self._patience_s(response, wait_s)
            if attempt < self.endpoint.max_retries:
                (self._sleep or stop.wait)(wait_s)
        raise DeviceError(
            f"the language model at {self.endpoint.url} gives no answer ({fault}, "
            f"{self.endpoint.max_retries + 1} tries): check the address or try again later; {KEPT}"
        )

    def _post(self, prompt: str) -> requests.Response:
        if not hasattr(self._local, "session"):
            self._local.session = requests.Session()  # one a thread: sessions are not made to be shared
        message = {"role": "user", "content": prompt}
        session: requests.Session = self._local.session
        return session.post(
            self.endpoint.url,
            json={"model": self.endpoint.model, "temperature": self.endpoint.temperature, "messages": [message]},
            auth=self._authorise,
            timeout=self.endpoint.timeout_s,
            allow_redirects=False,  # a redirected POST becomes a GET
        )

    def _patience_s(self, response: requests.Response, wait_s: float) -> float:
        """The seconds to wait: from the server, else as given."""
        retry_after_s = _retry_after_s(response.headers.get("Retry-After", ""))
        if retry_after_s is None:
            return wait_s
        if retry_after_s > LONGEST_RETRY_AFTER_S:
            raise DeviceError(
                f"the language model at {self.endpoint.url} asks to be left alone for {retry_after_s:.0f} s "
                f"(status {response.status_code}): run this again then; {KEPT}"
            )
        return max(retry_after_s, 0.0)

    def _refused(self, response: requests.Response) -> str:
        """The error that a refusal means; the empty answer where it is the prompt's words that are refused."""
        status, url, model = response.status_code, self.endpoint.url, self.endpoint.model
        message, code = _complaint(response)
        if status == BAD_REQUEST and code == "content_filter":
            return ""
        if status in {UNAUTHORIZED, FORBIDDEN}:
            # Such endpoints repeat the key in what they say: none of it is passed on.
            mend = f"set {API_KEY_VARIABLE} to one that may use {model}"
            raise ConfigError(f"{url} does not take the key ({status}): {mend}; {KEPT}")
        if status == NOT_FOUND or response.is_redirect:
            raise ConfigError(
                f"{url} is not there, or has no model {model!r} ({status}): correct the address or the model; {KEPT}"
            )
        # Cut after the key is taken out, not through it.
        message = f", {self._authorise.redacted(message)[:200]!r}" if message else ""
        raise ConfigError(f"{url} refuses what it is asked ({status}{message}): correct the settings; {KEPT}")


class _Stopped(Exception):
    """A request was given up because another one failed for good."""


class _Bearer:
    """Puts the key on a request. Given as ``auth``, lest ``requests`` take one from the user's ``.netrc`` instead."""

    def __init__(self, key: str) -> None:
        if not (key.isascii() and (key.isprintable() or not key)):
            raise ConfigError(f"{API_KEY_VARIABLE} holds characters that no key has: copy it again")
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._key:
            request.headers["Authorization"] = f"Bearer {self._key}"
        return request

    def redacted(self, text: str) -> str:
        return text.replace(self._key, "…") if self._key else text


def _address(url: str) -> SplitResult:
    try:
        address = urlsplit(url)
        _ = address.port  # raises where it is no number
    except ValueError:
        return SplitResult("", "", "", "", "")
    return address


def _shown(url: str) -> str:
    """An address without what may be secret in it."""
    address = _address(url)
    return address._replace(netloc=address.netloc.rpartition("@")[2], query="", fragment="").geturl()


def _content(response: requests.Response) -> str | None:
    """The text of a chat completion, None where it is no such thing; a model that says nothing gives ""."""
    try:
        content = response.json()["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError):
        return None
    if content is None:
        return ""
    # Half a surrogate pair is legal in JSON, but not in a file.
    return content.encode(errors="replace").decode() if isinstance(content, str) else None


def _complaint(response: requests.Response) -> tuple[str, str]:
    """The message and code of an endpoint that refuses a request."""
    try:
        error = response.json()["error"]
        message, code = str(error["message"]), str(error.get("code"))
    except (ValueError, LookupError, TypeError, AttributeError):
        return "", ""
    return " ".join(message.split()), code


def _retry_after_s(value: str) -> float | None:
    """Seconds of a Retry-After header, which may also be a date."""
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except ValueError:
            return None
    return seconds if math.isfinite(seconds) else None
