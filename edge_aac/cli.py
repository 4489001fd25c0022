"""Finds the verbs and runs one. A verb's module is imported only when the verb is called."""

from __future__ import annotations

import gc
import os
import sys

from edge_aac import __version__, signals

# What takes time to import is imported where it is used: signals are held from the first line of `main` on.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.metadata import EntryPoint
    from typing import NoReturn

GROUP = "edge_aac.commands"
OWN_SIGNALS = "ENDS_IN_GOOD_ORDER"
"""A verb whose module sets this to True calls :func:`edge_aac.signals.end_by` itself."""

INTERRUPTED = 130

_GARBAGE_EVERY = 20_000
"""Objects more than were freed, after which circles of them are looked for; Python's own number is 700."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one verb; errors that a user can cause become one sentence on stderr and an exit code."""
    signals.hold()
    # A start makes tens of thousands of objects that stay: to look among them for garbage after each 700 finds none.
    gc.set_threshold(_GARBAGE_EVERY)
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words or bool(os.environ.get("EDGE_AAC_DEBUG"))
    words = [word for word in words if word != "--debug"]

    from edge_aac.errors import EdgeAacError
    from edge_aac.standard_streams import lead_nowhere, open_streams

    open_streams()
    if debug:
        import logging

        logging.getLogger("edge_aac").setLevel(logging.DEBUG)
    try:
        sys.exit(_run(words))
    except EdgeAacError as error:
        _complain(error, debug)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # The reader of a pipe (`| head`) has what it wanted. Python would complain once more while closing stdout.
        lead_nowhere(sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        _complain(error, debug)
        if not debug:
            print("This is a fault of edge-aac; run it again with --debug and report what it shows.", file=sys.stderr)
        sys.exit(EdgeAacError.exit_code)


def run_command(command: Callable[[], object]) -> None:
    """Run a module's own command, which is no verb: an error that a user can cause is its sentence and exit code."""
    from edge_aac.errors import EdgeAacError
    from edge_aac.terminal import escaped

    try:
        command()
    except EdgeAacError as error:
        print(escaped(str(error)), file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _run(words: list[str]) -> int:
    from edge_aac.errors import UsageError
    from edge_aac.plugins import registered

    verbs = registered(GROUP)
    if words[:1] in (["--version"], ["-V"]):
        return _show_version()
    if not words or words[0] in {"-h", "--help", "help"}:
        print(_overview(verbs), flush=True)
        return 0 if words else UsageError.exit_code
    verb, *rest = words
    if verb not in verbs:
        raise UsageError(f"there is no verb {verb!r}: use one of {', '.join(sorted(verbs))}, or see `edge-aac --help`")
    if "--version" in rest[: rest.index("--") if "--" in rest else None]:
        return _show_version()
    try:
        app = verbs[verb].load()
        if not getattr(sys.modules.get(verbs[verb].module), OWN_SIGNALS, False):
            signals.end_by_exception()
        app(args=rest, prog_name=f"edge-aac {verb}")
    except ModuleNotFoundError as error:
        raise _missing(verb, error) from error
    except SystemExit as ended:
        # Typer makes an exit code of its own of a broken pipe, before anyone else sees it.
        if isinstance(ended.__context__, BrokenPipeError):
            raise ended.__context__ from None
        if not ended.code:
            signals.exit_if_swallowed()
        raise
    return 0


def _show_version() -> int:
    print(f"edge-aac {__version__}", flush=True)
    return 0


def _missing(verb: str, error: ModuleNotFoundError) -> Exception:
    """A verb whose package is not installed can be mended by its user; a part of our own that is missing cannot."""
    from edge_aac.errors import DeviceError

    package = (error.name or "").partition(".")[0]
    if package in {"", "edge_aac", "quantize", "benchmarks", "firmware_bridge"}:
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
    """Summary of a verb: the docstring of its function or module, read from its compiled code, which is not run.

    Parsing all sources, and importing what parses, would take most of the time of `edge-aac --help`.
    """
    from importlib.util import find_spec

    try:
        spec = find_spec(entry.module)
    except ImportError:
        spec = None
    if spec is None or spec.loader is None:
        return "(cannot be loaded: its package is not installed)"
    try:
        module = spec.loader.get_code(entry.module)  # type: ignore[attr-defined]
    except (AttributeError, ImportError, OSError, SyntaxError, ValueError):
        module = None
    if module is None:
        return "(says nothing about itself)"
    functions = {code.co_name: code for code in module.co_consts if isinstance(code, type(module))}
    verb = functions.get(f"{entry.name}_verb")
    texts = (verb.co_consts if verb is not None else ()) or (module.co_consts if "__doc__" in module.co_names else ())
    # The first constant of a code that has a docstring is that.
    first = texts[0] if texts else None
    return first.strip().partition("\n")[0] if isinstance(first, str) else ""


def _complain(error: Exception, debug: bool) -> None:
    from edge_aac.log_lines import error_line

    if debug:
        import traceback

        traceback.print_exception(error)
    print(error_line(str(error) or type(error).__name__, sys.stderr), file=sys.stderr)


if __name__ == "__main__":
    main()
