"""What holds for every test, whoever starts it, and fixtures of tests in several folders."""

from __future__ import annotations

import gc
import importlib.util
import itertools
import logging
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.case_choice import ONE_CASE_VARIABLE, one_case_each
from tests.edge_aac.outside_package import NAME, OutsidePackage

_COUNT = itertools.count()


def pytest_configure() -> None:
    """Ctrl-C reaches tests that a shell runs in the background, too: there it is ignored, and children inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if importlib.util.find_spec("hypothesis") is not None:  # it is not where Home Assistant is
        _give_properties_time()


def _give_properties_time() -> None:
    """No example of a property fails because a machine under load takes long for it."""
    from hypothesis import HealthCheck, settings

    settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("patient")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests that wait come first: one process waits while the others use the cores, and none waits at the end."""
    if os.environ.get(ONE_CASE_VARIABLE) == "1":
        kept = one_case_each((item.nodeid for item in items), sys.version_info.minor)
        config.hook.pytest_deselected(items=[item for item in items if item.nodeid not in kept])
        items[:] = [item for item in items if item.nodeid in kept]
    items.sort(key=lambda item: item.get_closest_marker("waits") is None)


def pytest_collection_finish() -> None:
    """What thousands of collected tests and their modules consist of stays to the end: no collection looks at it again.

    A model's export has garbage collected ten times, which takes a third of it where torch and all tests are looked at.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def no_state_of_other_tests(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test writes into the user's state folder is its own: no other test finds it, nor does the user."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.getbasetemp() / f"state-{next(_COUNT)}"))


@pytest.fixture(autouse=True)
def signals_as_before() -> Iterator[None]:
    """What a verb that runs in the test's own process does with signals ends with the test."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        if signal.getsignal(number) is not handler:
            signal.signal(number, handler or signal.SIG_DFL)


@pytest.fixture(autouse=True)
def log_levels_as_before() -> Iterator[None]:
    """A verb that runs in the test's own process may turn on --debug: tests that read the log would find it on."""
    loggers = [logging.getLogger(name) for name in (None, "edge_aac", "quantize", "firmware_bridge")]
    before = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, before, strict=True):
        logger.setLevel(level)


@pytest.fixture(autouse=True)
def small_numbers_as_before() -> Iterator[None]:
    """A training in the test's own process takes the smallest numbers for 0, to the end of the test only."""
    yield
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_flush_denormal(False)


@pytest.fixture
def outside_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OutsidePackage]:
    """A folder on the import path, for this process and its children."""
    folder = tmp_path / "outside"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", str(folder))
    yield OutsidePackage(folder)
    sys.modules.pop(NAME, None)
