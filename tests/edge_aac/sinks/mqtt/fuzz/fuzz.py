"""Coverage-guided fuzzing of what a broker sends, by atheris; see script/fuzz-mqtt.

    python -m tests.edge_aac.sinks.mqtt.fuzz.fuzz -max_total_time=600 CORPUS

Options are those of libFuzzer. What ends it is written to a file ``crash-…`` of this folder.
"""

from __future__ import annotations

import logging
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["edge_aac", "paho"]):
    from tests.edge_aac.sinks.mqtt.fuzz.harness import LONGEST_INPUT, Target


def main() -> None:
    """Run until libFuzzer ends it."""
    logging.getLogger("edge_aac").propagate = False  # refused commands are no news
    target = Target()
    with tempfile.TemporaryDirectory() as folder:
        # To merge a corpus, libFuzzer starts itself again by this name.
        program = Path(folder) / "fuzz"
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tests.edge_aac.sinks.mqtt.fuzz.fuzz "$@"\n')
        program.chmod(0o700)
        atheris.Setup([str(program), *sys.argv[1:], f"-max_len={LONGEST_INPUT}"], target.one_input)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
