"""The command line's frame: verbs, codes, one sentence for each error."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from edge_aac import __version__, cli, plugins, signals
from edge_aac.errors import ConfigError, DataError, DeviceError, EdgeAacError, InputMissingError, UsageError


def _main(*words: str) -> int:
    with pytest.raises(SystemExit) as caught:
        cli.main(words)
    code = caught.value.code
    assert isinstance(code, int)
    return code


def _install(monkeypatch: pytest.MonkeyPatch, app: Any) -> None:
    """Makes ``edge-aac try`` call ``app``."""
    module = ModuleType("edge_aac_try")
    module.app = app  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "edge_aac_try", module)
    points = [EntryPoint("try", "edge_aac_try:app", cli.GROUP)]
    monkeypatch.setattr(plugins, "entry_points", lambda group: points)


def _raising(error: BaseException) -> Any:
    def app(args: list[str], prog_name: str) -> None:
        raise error

    return app


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_verb_that_is_signalled_to_end_cleans_up(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def app(args: list[str], prog_name: str) -> None:
        half_written = tmp_path / "half"
        half_written.touch()
        try:
            os.kill(os.getpid(), number)
            time.sleep(5)
        finally:
            half_written.unlink()

    _install(monkeypatch, app)
    assert _main("try") == 128 + number
    assert not list(tmp_path.iterdir())


_OF_A_VERB = """
import os, signal
from edge_aac import signals

os.kill(os.getpid(), signal.{name})  # while it is imported
ENDS_IN_GOOD_ORDER = {polite}
calls = []

def app(args, prog_name):
    if ENDS_IN_GOOD_ORDER:
        signals.end_by(lambda: calls.append("stop"))
        os.kill(os.getpid(), signal.{name})
    calls.append("done")
"""


@pytest.mark.parametrize("polite", [True, False])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_a_verb_is_imported_is_as_good_as_a_later_one(
    number: signal.Signals, polite: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "edge_aac_signalled.py").write_text(_OF_A_VERB.format(name=number.name, polite=polite))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "edge_aac_signalled", raising=False)
    points = [EntryPoint("try", "edge_aac_signalled:app", cli.GROUP)]
    monkeypatch.setattr(plugins, "entry_points", lambda group: points)
    assert _main("try") == (0 if polite else 128 + number)
    calls = sys.modules.pop("edge_aac_signalled").calls
    # A stop is one, however many signals ask for it.
    assert calls == (["stop", "done"] if polite else [])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_what_is_ignored_from_the_start_stays_so(number: signal.Signals, monkeypatch: pytest.MonkeyPatch) -> None:
    signal.signal(number, signal.SIG_IGN)

    def app(args: list[str], prog_name: str) -> None:
        os.kill(os.getpid(), number)
        raise DataError("it went on")

    _install(monkeypatch, app)
    assert _main("try") == 65
    signals.end_by(lambda: None)
    assert (signal.getsignal(signal.SIGHUP) is signal.SIG_IGN) == (number == signal.SIGHUP)


@pytest.mark.parametrize("words", [["--version"], ["-V"], ["stream", "--version"], ["caption", "x.wav", "--version"]])
def test_version(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert _main(*words) == 0
    assert capsys.readouterr().out == f"edge-aac {__version__}\n"


def test_every_verb_knows_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    verbs = [point.name for point in entry_points(group=cli.GROUP)]
    assert [_main(verb, "--version") for verb in verbs] == [0] * len(verbs)
    assert capsys.readouterr().out == len(verbs) * f"edge-aac {__version__}\n"


def test_a_version_behind_two_dashes_is_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []
    _install(monkeypatch, lambda args, prog_name: seen.append(args))
    assert _main("try", "--", "--version") == 0
    assert seen == [["--", "--version"]]


def test_an_error_is_one_line_whatever_names_it_holds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _install(monkeypatch, _raising(DataError("'a\nb\x1b[2Jc\u202ed\x9be\udce9' is no sound")))
    assert _main("try") == 65
    assert capsys.readouterr().err == r"edge-aac: 'a\nb\x1b[2Jc\u202ed\x9be\xe9' is no sound" + "\n"


@pytest.mark.parametrize("word", ["--help", "-h", "help"])
def test_help_lists_every_verb_with_what_it_does(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert _main(word) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    lines = captured.out.splitlines()
    for verb in {point.name for point in entry_points(group=cli.GROUP)}:
        (line,) = [line for line in lines if line.startswith(f"  {verb} ")]
        assert len(line.split()) > 2, f"{verb} says nothing about itself"


def test_no_verb_is_a_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert _main() == 2
    assert "Usage" in capsys.readouterr().out


def test_unknown_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert _main("strem") == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert "'strem'" in captured.err and "stream" in captured.err


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (EdgeAacError, 70),
        (UsageError, 2),
        (DataError, 65),
        (InputMissingError, 66),
        (DeviceError, 69),
        (ConfigError, 78),
    ],
)
def test_errors_are_one_sentence_and_a_code(
    kind: type[EdgeAacError], code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _install(monkeypatch, _raising(kind("the cat sat on it: lift the cat")))
    assert kind.exit_code == code
    assert _main("try") == code
    assert capsys.readouterr().err == "edge-aac: the cat sat on it: lift the cat\n"


@pytest.mark.parametrize("how", ["flag", "flag first", "environment"])
def test_debug_shows_the_traceback(
    how: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[list[str]] = []

    def app(args: list[str], prog_name: str) -> None:
        seen.append(args)
        raise DataError("bad")

    _install(monkeypatch, app)
    if how == "environment":
        monkeypatch.setenv("EDGE_AAC_DEBUG", "1")
    words = {"flag": ["try", "x", "--debug"], "flag first": ["--debug", "try", "x"], "environment": ["try", "x"]}[how]
    assert _main(*words) == 65
    assert "Traceback" in capsys.readouterr().err
    assert seen == [["x"]]


def test_a_fault_asks_for_a_report(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    _install(monkeypatch, _raising(ZeroDivisionError()))
    assert _main("try") == 70
    message = capsys.readouterr().err
    assert "ZeroDivisionError" in message and "--debug" in message and "Traceback" not in message


def test_interrupted(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    _install(monkeypatch, _raising(KeyboardInterrupt()))
    assert _main("try") == 130
    assert capsys.readouterr().err == ""


def test_a_verb_whose_package_is_missing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    points = [EntryPoint("try", "no_such_package_here.verbs:app", cli.GROUP)]
    monkeypatch.setattr(plugins, "entry_points", lambda group: points)
    assert _main("try") == 69
    assert "'no_such_package_here'" in capsys.readouterr().err
    assert _main("--help") == 0
    assert "not installed" in capsys.readouterr().out


def test_help_survives_a_verb_that_is_no_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "edge_aac_broken.py").write_bytes(b"\xff not python")
    monkeypatch.syspath_prepend(tmp_path)
    points = [EntryPoint("broken", "edge_aac_broken:app", cli.GROUP)]
    monkeypatch.setattr(plugins, "entry_points", lambda group: points)
    assert _main("--help") == 0
    assert "broken" in capsys.readouterr().out


@pytest.mark.parametrize("verb", ["stream", "caption", "devices"])
def test_every_verb_has_help_with_examples(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert _main(verb, "--help") == 0
    text = capsys.readouterr().out
    assert "Examples" in text
    assert f"edge-aac {verb}" in text


@pytest.mark.parametrize("words", [["stream", "--nope"], ["caption"], ["caption", "--hop", "often", "a.wav"]])
def test_wrong_use_of_a_verb(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert _main(*words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Error: " in captured.err


_WHILE_PORT_AUDIO_IS_PROBED = """
import logging, os, sys, threading
from importlib.metadata import EntryPoint
from types import ModuleType

from edge_aac import cli, plugins
from edge_aac.audio.devices import silenced_stderr
from edge_aac.commands.options import log_to_stderr
from edge_aac.errors import DataError

def probe(silent):
    with silenced_stderr():
        os.write(2, b"ALSA lib: chatter\\n")
        silent.set()
        threading.Event().wait()

def app(args, prog_name):
    log_to_stderr()
    silent = threading.Event()
    threading.Thread(target=probe, args=[silent], daemon=True).start()
    silent.wait()
    logging.warning("3 windows skipped")
    raise DataError("the cat sat on it: lift the cat")

sys.modules["edge_aac_try"] = ModuleType("edge_aac_try")
sys.modules["edge_aac_try"].app = app
plugins.entry_points = lambda group: [EntryPoint("try", "edge_aac_try:app", group)]
cli.main(["try"])
"""


def _run_with(redirection: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Runs Python under a shell that redirects its streams."""
    command = ["bash", "-c", f'"$@" {redirection}', "bash", sys.executable, *words]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("redirection", ["", "<&- >&-"])
def test_output_while_port_audio_is_probed_is_passed_on(redirection: str) -> None:
    result = _run_with(redirection, "-c", _WHILE_PORT_AUDIO_IS_PROBED)
    assert result.returncode == 65
    assert result.stderr.splitlines() == [
        "edge-aac: 3 windows skipped",
        "edge-aac: the cat sat on it: lift the cat",
    ]


@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full", "2> >(true)"])
@pytest.mark.parametrize("words", [["strem"], ["stream", "--nope"]])
def test_errors_that_nobody_hears_keep_their_code(redirection: str, words: list[str]) -> None:
    result = _run_with(redirection, "-m", "edge_aac.cli", *words)
    assert (result.returncode, result.stdout, result.stderr) == (2, "", "")


@pytest.mark.parametrize("capture", ["capsys", "capfd"])
def test_stand_ins_for_the_streams_are_left_in_place(capture: str, request: pytest.FixtureRequest) -> None:
    captured: pytest.CaptureFixture[str] = request.getfixturevalue(capture)
    before = sys.stdout, sys.stderr
    _main("strem")
    assert (sys.stdout, sys.stderr) == before
    assert "strem" in captured.readouterr().err


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["stream", "--help"]])
def test_a_full_disk_under_standard_output(words: list[str]) -> None:
    result = _run_with(">/dev/full", "-m", "edge_aac.cli", *words)
    assert result.returncode == 69
    assert result.stderr.count("\n") == 1
    assert "standard output cannot be written (No space left on device)" in result.stderr


def test_another_full_disk_is_not_standard_output(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _install(monkeypatch, _raising(OSError(errno.ENOSPC, "No space left on device")))
    assert _main("try") == 70
    assert "standard output" not in capsys.readouterr().err


def test_training_without_torch_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    words = ["train", "--recipe", "esc10-tiny", "--data", "nowhere", "--run", "nowhere"]
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    assert ended.value.code == DeviceError.exit_code
    printed = capsys.readouterr().err
    assert "'torch'" in printed and "edge-aac[train]" in printed
