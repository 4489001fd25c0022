"""Manual page and completions for shells, made from what the verbs themselves declare.

python debian/manual.py man > edge-aac.1
python debian/manual.py bash > completions/edge-aac      (also zsh and fish)

A verb whose packages are not installed is named without its options.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, get_args

import typer

import edge_aac
from edge_aac.cli import GROUP, _summary
from edge_aac.plugins import registered

RUNTIME = "edge_aac."
"""Verbs of the runtime come first: the others need packages that a device does not have."""


@dataclass(frozen=True)
class Option:
    """One option or argument of a verb.

    Attributes:
        names: spellings, as ``--device``; of an argument none.
        value: name of the value that follows, or "" for a flag.
        help: what it does.
        choices: values, where there are few.
        is_path: whether the value is a file or a folder.
        group: heading that it stands under in the help; "" where it stands under none.
    """

    names: tuple[str, ...]
    value: str
    help: str
    choices: tuple[str, ...] = ()
    is_path: bool = False
    group: str = ""


@dataclass(frozen=True)
class Verb:
    """One verb, or a verb of a verb (``service install``).

    Attributes:
        name: words that call it.
        summary: one sentence.
        options: its options and arguments.
        examples: examples and notes, as help shows them.
        verbs: the verbs that follow it.
    """

    name: str
    summary: str
    options: tuple[Option, ...]
    examples: str = ""
    verbs: tuple[Verb, ...] = ()


def verbs() -> list[Verb]:
    """All registered verbs: the runtime's first."""
    found = []
    for name, point in registered(GROUP).items():
        summary = _summary(point)
        try:
            app = point.load()
        except ModuleNotFoundError:
            found.append((False, Verb(name, summary, ())))
            continue
        command = typer.main.get_command(app) if isinstance(app, typer.Typer) else app
        found.append((point.module.startswith(RUNTIME), _verb(name, command, summary)))
    return [verb for _, verb in sorted(found, key=lambda pair: (not pair[0], pair[1].name))]


def _verb(name: str, command: Any, summary: str) -> Verb:
    below = getattr(command, "commands", {})
    return Verb(
        name,
        summary or " ".join((getattr(command, "help", "") or "").split("\n\n")[0].split()),
        tuple(_option(parameter) for parameter in command.params if not getattr(parameter, "hidden", False)),
        (getattr(command, "epilog", None) or "").strip(),
        tuple(_verb(f"{name} {word}", one, "") for word, one in sorted(below.items())),
    )


def _value(parameter: Any) -> tuple[str, tuple[str, ...]]:
    """What follows an option, in a word, and what may: Typer has types of its own since 0.29, those of Click before."""
    described = getattr(parameter, "type_descriptor", None)
    if described is None:
        name = str(parameter.type.name)
        choices = tuple(str(getattr(choice, "value", choice)) for choice in getattr(parameter.type, "choices", ()))
        return ("path" if name in {"file", "directory", "filename"} else name), choices
    kind = described.annotation
    kinds = [one for one in (kind, *get_args(kind)) if isinstance(one, type)]
    for one in kinds:
        if issubclass(one, Enum):
            return "text", tuple(str(member.value) for member in one)
    names = {Path: "path", float: "float", int: "integer"}
    return next((names[one] for one in kinds if one in names), "text"), ()


def _option(parameter: Any) -> Option:
    kind, choices = _value(parameter)
    names = tuple(name for name in (*parameter.opts, *parameter.secondary_opts) if name.startswith("-"))
    value = ""
    if not getattr(parameter, "is_flag", False):
        value = getattr(parameter, "metavar", None) or ("|".join(choices) if choices else kind.upper())
        if not choices and re.fullmatch(r"[a-z0-9]+(\|[a-z0-9]+)+", value):
            choices = tuple(value.split("|"))
    text = " ".join((getattr(parameter, "help", "") or "").split())
    return Option(names, value, text, choices, kind == "path", getattr(parameter, "rich_help_panel", None) or "")


def _roff(text: str) -> str:
    """Text in which roff reads nothing as its own."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return "\n".join("\\&" + line if line.startswith((".", "'")) else line for line in escaped.splitlines())


def manual() -> str:
    """``edge-aac(1)``."""
    source = Path(edge_aac.__file__)
    day = time.strftime("%Y-%m-%d", time.gmtime(source.stat().st_mtime))
    lines = [
        f'.TH EDGE\\-AAC 1 "{day}" "edge\\-aac {_roff(edge_aac.__version__)}" "User Commands"',
        ".SH NAME",
        "edge\\-aac \\- audio captions on the device: a microphone in, plain words out",
        ".SH SYNOPSIS",
        ".B edge\\-aac\n.I VERB\n.RI [ OPTIONS ]",
        ".SH DESCRIPTION",
        _roff(
            "edge-aac listens to microphones, network sources, files and pipes in windows of 10 seconds, and prints a "
            "caption when something new is heard. Records go to standard output, messages to standard error."
        ),
        ".PP",
        _roff("--debug shows the traceback of an error; --version the version. Each verb has --help."),
        ".SH VERBS",
    ]
    for verb in verbs():
        lines += _manual_of(verb)
    for title, paragraphs in SECTIONS.items():
        lines.append(f".SH {title}")
        for tag, text in paragraphs:
            lines += [".TP", f".B {_roff(tag)}", _roff(text)] if tag else [_roff(text)]
    return "\n".join(lines) + "\n"


def _manual_of(verb: Verb) -> list[str]:
    lines = [f'.SS "edge\\-aac {_roff(verb.name)}"', _roff(verb.summary)]
    # Those of no group first, as the help has them.
    groups = ["", *dict.fromkeys(option.group for option in verb.options if option.group)]
    before = ""
    for option in sorted(verb.options, key=lambda one: groups.index(one.group)):
        if option.group != before:
            lines += [".PP", f"\\fI{_roff(option.group)}\\fR"]
            before = option.group
        names = ", ".join(option.names)
        head = f"\\fB{_roff(names)}\\fR" if names else ""
        if option.value:
            head = f"{head} \\fI{_roff(option.value)}\\fR".strip()
        lines += [".TP", head, _roff(option.help) or "See above."]
    if verb.examples:
        lines += [".PP", ".nf", _roff("\n".join(line for line in verb.examples.splitlines() if line.strip())), ".fi"]
    for below in verb.verbs:
        lines += _manual_of(below)
    return lines


SECTIONS: dict[str, Sequence[tuple[str, str]]] = {
    "FILES": (
        ("/etc/edge-aac/config.toml", "Settings of the machine and of edge-aac.service."),
        ("/etc/edge-aac/NAME.toml", "Settings of the instance edge-aac@NAME.service."),
        ("~/.config/edge-aac/config.toml", "Settings of a user."),
        ("/var/lib/edge-aac", "State and bundles of the service."),
    ),
    "ENVIRONMENT": (
        ("EDGE_AAC_…", "Each setting has a variable: see edge-aac config --example. A flag overrules it."),
        ("EDGE_AAC_DEBUG", "As --debug."),
    ),
    "EXIT STATUS": (
        ("0", "Done, or stopped by SIGINT or SIGTERM in good order."),
        ("1", "doctor: a check has failed. service status, service health: a part does not work."),
        ("2", "Wrong usage."),
        ("3", "service status: the service does not run."),
        ("65", "Bad data."),
        ("66", "An input is missing."),
        ("69", "A device, broker or accelerator is unavailable."),
        ("70", "A fault of edge-aac."),
        ("78", "A bad configuration."),
    ),
    "SIGNALS": (
        ("SIGTERM, SIGINT", "End a stream in good order."),
        ("SIGHUP", "Under a service manager: settings are read anew. Elsewhere: as SIGTERM."),
    ),
    "SEE ALSO": (("", "systemctl(1), journalctl(1), arecord(1), ffmpeg(1)"),),
}


def _words(options: Sequence[Option]) -> list[str]:
    return sorted({name for option in options for name in option.names} | {"--help"})


def _flat(found: Sequence[Verb]) -> list[Verb]:
    return [one for verb in found for one in (verb, *_flat(verb.verbs))]


def bash() -> str:
    """Completion of bash: verbs, options, choices and files."""
    found = verbs()
    cases = []
    for verb in sorted(_flat(found), key=lambda one: -one.name.count(" ")):
        words = [one.name.split()[-1] for one in verb.verbs] + _words(verb.options)
        values = [
            f"      {'|'.join(option.names)})\n"
            f"        COMPREPLY=($(compgen -W '{' '.join(option.choices)}' -- \"$word\")); return ;;"
            for option in verb.options
            if option.choices and option.names
        ]
        files = sorted(name for option in verb.options if option.is_path for name in option.names)
        if files:
            values.append(f"      {'|'.join(files)}) _filedir_edge_aac; return ;;")
        inner = ["    case $before in", *values, "    esac"] if values else []
        cases.append("\n".join([f"    '{verb.name}'*)", *inner, f"    words='{' '.join(words)}'", "    ;;"]))
    top = " ".join([*(verb.name for verb in found), "--help", "--version", "--debug"])
    return f"""# bash completion for edge-aac; made by debian/manual.py
_filedir_edge_aac() {{
  local IFS=$'\\n'
  compopt -o filenames 2>/dev/null
  COMPREPLY=($(compgen -f -- "$word"))
}}
_edge_aac() {{
  local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}} words called
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W '{top}' -- "$word"))
    return
  fi
  called="${{COMP_WORDS[1]}} ${{COMP_WORDS[2]:-}}"
  case $called in
{chr(10).join(cases)}
    *) words='--help' ;;
  esac
  case $word in
    -*) COMPREPLY=($(compgen -W "$words" -- "$word")) ;;
    *)
      COMPREPLY=($(compgen -W "$(printf '%s\\n' $words | grep -v '^-')" -- "$word"))
      [ ${{#COMPREPLY[@]}} -gt 0 ] || _filedir_edge_aac
      ;;
  esac
}}
complete -F _edge_aac edge-aac
"""


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "").replace("[", "(").replace("]", ")").replace(":", "\\:")


def zsh() -> str:
    """Completion of zsh."""
    found = verbs()
    described = "\n".join(f"    '{verb.name}:{_quoted(verb.summary)}'" for verb in found)
    cases = []
    for verb in found:
        lines = []
        for option in verb.options:
            action = f"({' '.join(option.choices)})" if option.choices else ("_files" if option.is_path else "")
            tail = f":{_quoted(option.value)}:{action}" if option.value else ""
            lines += [f"        '*{name}[{_quoted(option.help)}]{tail}'" for name in option.names]
        words = " ".join(one.name.split()[-1] for one in verb.verbs)
        rest = f"'1:verb:({words})'" if words else "'*:file:_files'"
        body = " \\\n".join(["      _arguments", "        '--help[Shows help]'", *lines, f"        {rest}"])
        cases.append(f"    {verb.name})\n{body}\n      ;;")
    return f"""#compdef edge-aac
# made by debian/manual.py
_edge_aac() {{
  local -a verbs
  verbs=(
{described}
  )
  if (( CURRENT == 2 )); then
    _describe verb verbs
    return
  fi
  local verb=$words[2]
  shift words
  (( CURRENT-- ))
  case $verb in
{chr(10).join(cases)}
  esac
}}
_edge_aac "$@"
"""


def fish() -> str:
    """Completion of fish."""
    found = verbs()
    lines = ["# made by debian/manual.py"]
    for verb in found:
        lines.append(f"complete -c edge-aac -n __fish_use_subcommand -f -a {verb.name} -d '{_fish(verb.summary)}'")
        under = f"-n '__fish_seen_subcommand_from {verb.name}'"
        words = " ".join(one.name.split()[-1] for one in verb.verbs)
        if words:
            lines.append(f"complete -c edge-aac {under} -f -a '{words}'")
        for option in verb.options:
            for name in option.names:
                takes = ""
                if option.choices:
                    takes = f" -x -a '{' '.join(option.choices)}'"
                elif option.value:
                    takes = " -r -F" if option.is_path else " -x"
                letter = f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}"
                lines.append(f"complete -c edge-aac {under} {letter}{takes} -d '{_fish(option.help)}'")
    return "\n".join(lines) + "\n"


def _fish(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")


FORMS: dict[str, Callable[[], str]] = {"man": manual, "bash": bash, "zsh": zsh, "fish": fish}


if __name__ == "__main__":
    if sys.argv[1:] not in [[form] for form in FORMS]:
        sys.exit(f"usage: python debian/manual.py {'|'.join(FORMS)}")
    sys.stdout.write(FORMS[sys.argv[1]]())
