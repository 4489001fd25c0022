"""The metrics of the installed command, as Prometheus and a container's health check get them."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.system.command import environment, noise, run_edge_aac, started_edge_aac, write_wav
from tests.system.service_manager import wait_for

pytestmark = pytest.mark.one_python

TIMEOUT_S = 60


def _get(url: str) -> tuple[int, str]:
    with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
        return answer.status, answer.read().decode()


def _samples(url: str) -> dict[str, float]:
    status, text = _get(url)
    assert status == 200
    return {sample.name: sample.value for family in text_string_to_metric_families(text) for sample in family.samples}


def test_a_stream_is_scraped_and_ends_in_good_order(tmp_path: Path) -> None:
    sound = write_wav(tmp_path / "noise.wav", np.tile(noise(20), 120))
    arguments = ("--device", f"file:{sound}?speed=10", "--every-window", "--format", "json", "--metrics", "127.0.0.1:0")
    with started_edge_aac("stream", *arguments) as process:
        assert process.stderr is not None
        assert process.stdout is not None
        url = None
        while url is None:
            line = process.stderr.readline().decode()
            assert line, "the stream ended, or said nothing of its metrics"
            url = re.search(r"http://127\.0\.0\.1:\d+", line)
        process.stdout.readline()  # of a caption: the session runs
        assert _get(f"{url.group()}/health") == (200, "ok\n")
        samples = _samples(f"{url.group()}/metrics")
        assert samples["edge_aac_captions_total"] >= 1
        # It is counted when it has been written, which may be just after it was read here.
        wait_for(lambda: _samples(f"{url.group()}/metrics")["edge_aac_sink_delivered_total"] >= 1, "it is delivered")
        process.terminate()
        process.stdout.read()
        assert process.wait(TIMEOUT_S) == 0


def test_a_port_that_is_taken_is_told_in_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run_edge_aac("stream", "--device", "demo:", env={"EDGE_AAC_METRICS": str(port)})
    assert done.returncode == 69
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert f"127.0.0.1:{port}" in done.stderr


@pytest.mark.parametrize("listen", ["nowhere", "[::1]", "127.0.0.1:99999"])
def test_an_address_that_is_none_is_a_fault_of_the_configuration(listen: str) -> None:
    done = run_edge_aac("stream", "--device", "demo:", "--metrics", listen)
    assert done.returncode == 78
    assert "expected HOST:PORT" in done.stderr


_STREAM = """
import json, sys
from edge_aac.cli import main
try:
    main(["stream", "--device", "demo:?seconds=1", *sys.argv[1:]])
except SystemExit as ended:
    print(json.dumps({"code": ended.code, "loaded": "prometheus_client" in sys.modules}))
"""


@pytest.mark.parametrize(("arguments", "loaded"), [((), False), (("--metrics", "0"), True)])
def test_a_stream_without_metrics_imports_nothing_for_them(arguments: tuple[str, ...], loaded: bool) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _STREAM, *arguments],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert json.loads(done.stdout.splitlines()[-1]) == {"code": 0, "loaded": loaded}
