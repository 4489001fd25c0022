"""Finds the verbs and runs one. A verb's module is imported only when the verb is called."""

from __future__ import annotations

import ast
import fcntl
import io
import os
import signal
import sys
from collections.abc import Sequence
from importlib.metadata import EntryPoint
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TextIO

from edge_aac import __version__
from edge_aac.errors import DeviceError, EdgeAacError, UsageError
from edge_aac.plugins import registered

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

GROUP = "edge_aac.commands"
INTERRUPTED, TERMINATED = 130, 143
_STDOUT, _STDERR = 1, 2


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one verb; errors that a user can cause become one sentence on stderr and an exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words or bool(os.environ.get("EDGE_AAC_DEBUG"))
    words = [word for word in words if word != "--debug"]
    _open_streams()
    # By default it would end the process on the spot, and leave half-written folders behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    try:
        sys.exit(_run(words))
    except EdgeAacError as error:
        _complain(error, debug)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # The reader of a pipe (`| head`) has what it wanted. Python would complain once more while closing stdout.
        _lead_nowhere(sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        _complain(error, debug)
        if not debug:
            print("This is a fault of edge-aac; run it again with --debug and report what it shows.", file=sys.stderr)
        sys.exit(EdgeAacError.exit_code)


class _Stdout(io.FileIO):
    """Standard output that says in a sentence for the user that it cannot be written, as on a full disk."""

    def write(self, text: ReadableBuffer, /) -> int:
        try:
            return super().write(text)
        except BrokenPipeError:
            raise
        except OSError as error:
            # Python would try the rest once more while closing it.
            _lead_nowhere(self.fileno())
            raise DeviceError(
                f"standard output cannot be written ({error.strerror}): make room, or send it elsewhere"
            ) from error


class _Stderr(io.FileIO):
    """Standard error that changes no exit code when its disk is full or its reader gone."""

    def write(self, text: ReadableBuffer, /) -> int:
        try:
            return super().write(text)
        except OSError:
            return memoryview(text).nbytes


def _open_streams() -> None:
    """Puts streams of our own in the place of Python's; what stands for one already, as in a test, stays.

    Standard error gets a descriptor of its own, since number 2 leads nowhere while PortAudio is probed. Where it is
    closed, what is said goes nowhere: ``print`` would put it among the records.
    """
    standard: TextIO | None = sys.stdout
    if standard is not None and _number_of(standard) == _STDOUT:
        writer = io.BufferedWriter(_Stdout(_STDOUT, "w", closefd=False))
        sys.stdout = io.TextIOWrapper(writer, standard.encoding, standard.errors, line_buffering=True)
    standard = sys.stderr
    if standard is None:
        sys.stderr = io.TextIOWrapper(_Stderr(os.devnull, "w"), "utf-8")
    elif _number_of(standard) == _STDERR:
        # Above 2, since it must not become standard input or output where they are closed.
        number = fcntl.fcntl(_STDERR, fcntl.F_DUPFD_CLOEXEC, _STDERR + 1)
        ours = _Stderr(number, "w", closefd=False)
        sys.stderr = io.TextIOWrapper(ours, standard.encoding, standard.errors, line_buffering=True)


def _number_of(stream: TextIO) -> int | None:
    try:
        return stream.fileno()
    except OSError:
        return None


def _lead_nowhere(descriptor: int) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)


def _run(words: list[str]) -> int:
    verbs = registered(GROUP)
    if words[:1] in (["--version"], ["-V"]):
        print(f"edge-aac {__version__}", flush=True)
        return 0
    if not words or words[0] in {"-h", "--help", "help"}:
        print(_overview(verbs), flush=True)
        return 0 if words else UsageError.exit_code
    verb, *rest = words
    if verb not in verbs:
        raise UsageError(f"there is no verb {verb!r}: use one of {', '.join(sorted(verbs))}, or see `edge-aac --help`")
    try:
        verbs[verb].load()(args=rest, prog_name=f"edge-aac {verb}")
    except ModuleNotFoundError as error:
        raise _missing(verb, error) from error
    except SystemExit as ended:
        # Typer makes an exit code of its own of a broken pipe, before anyone else sees it.
        if isinstance(ended.__context__, BrokenPipeError):
            raise ended.__context__ from None
        raise
    return 0


def _missing(verb: str, error: ModuleNotFoundError) -> Exception:
    """A verb whose package is not installed can be mended by its user; a part of our own that is missing cannot."""
    package = (error.name or "").partition(".")[0]
    if package in {"", "edge_aac", "quantize", "benchmarks"}:
        return error
    return DeviceError(
        f"`edge-aac {verb}` needs the package {package!r}, which is not installed: "
        "pip install 'edge-aac[train]' brings the build-time side, 'edge-aac[build]' what build-engine and bench need, "
        "'edge-aac[evaluate]' scores and reports, 'edge-aac[mic]' microphones"
    )


def _overview(verbs: dict[str, EntryPoint]) -> str:
    width = max((len(name) for name in verbs), default=0)
    lines = [f"  {name:<{width}}  {_summary(entry)}" for name, entry in sorted(verbs.items())]
    return "\n".join(
        [
            "Usage: edge-aac VERB [OPTIONS]",
            "",
            "Audio captions on the device: a microphone in, plain words out.",
            "",
            "Verbs (edge-aac VERB --help shows options and examples):",
            *lines,
            "",
            "Options for every verb: --debug shows the traceback of an error; --version.",
        ]
    )


def _summary(entry: EntryPoint) -> str:
    """Summary of a verb: the docstring of its function or module, read without importing the module."""
    try:
        spec = find_spec(entry.module)
    except ImportError:
        spec = None
    if spec is None or spec.origin is None:
        return "(cannot be loaded: its package is not installed)"
    try:
        tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return "(says nothing about itself)"
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    verb = functions.get(f"{entry.name}_verb")
    text = ast.get_docstring(verb) if verb else ast.get_docstring(tree)
    return (text or "").partition("\n")[0]


def _complain(error: Exception, debug: bool) -> None:
    if debug:
        import traceback

        traceback.print_exception(error)
    print(f"edge-aac: {str(error) or type(error).__name__}", file=sys.stderr)


if __name__ == "__main__":
    main()
