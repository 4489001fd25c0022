"""What a package outside the tree may add by entry points alone: source, sink, record, settings, model and verb."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

from edge_aac.bundle.store import built_in_bundles
from tests.edge_aac.outside_package import NAME, OutsidePackage
from tests.system.command import TIMEOUT_S, run_edge_aac, started_edge_aac

_CODE = '''
"""Hear the tide."""
from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Literal

import numpy as np
import typer
from pydantic import BaseModel, ConfigDict, Field

from edge_aac.audio.sources.demo import DemoSource, synthesise_demo
from edge_aac.records import Record
from edge_aac.records.base import Record as Base
from edge_aac.sinks.contract import SinkSettings

app = typer.Typer(add_completion=False)


@app.command()
def tide() -> None:
    """Hear the tide."""
    from edge_aac.records import parse_record
    from edge_aac.settings.tree import load_settings

    print(load_settings().get(TideSettings).height_m)
    print(parse_record('{"schema": "acme/tide/1", "node": "quay", "source": "sea", "height_m": 2.5}').line())


class TideSettings(BaseModel):
    """How high the tide is."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    height_m: float = Field(default=1.5, ge=0.0, description="Height of the tide.", json_schema_extra={"unit": "m"})


class Tide(Base):
    schema_: Literal["acme/tide/1"] = Field(default="acme/tide/1", alias="schema")
    height_m: float

    def sentence(self) -> str:
        return f"the tide is at {self.height_m} m"


def open_sea(address, context):
    return DemoSource(synthesise_demo(12.0, 0), label=context.label(address))


class BottleSettings(SinkSettings):
    """Puts records into a bottle."""

    path: Path = Field(description="The bottle.")

    @classmethod
    def parse(cls, rest):
        return cls(path=Path(rest))


class Bottle:
    Settings = BottleSettings

    def __init__(self, path):
        self._stream = path.open("w")

    @classmethod
    def open(cls, settings):
        return cls(settings.path)

    def publish(self, record: Record) -> None:
        self._stream.write("bottled: " + record.to_json() + "\\n")

    def close(self) -> None:
        self._stream.close()
'''

_ENTRY_POINTS = {
    "edge_aac.commands": {"tide": f"{NAME}:app"},
    "edge_aac.sources": {"sea": f"{NAME}:open_sea"},
    "edge_aac.sinks": {"bottle": f"{NAME}:Bottle"},
    "edge_aac.records": {"acme/tide/1": f"{NAME}:Tide"},
    "edge_aac.settings": {"tide": f"{NAME}:TideSettings"},
}


def test_source_and_sink(outside_package: OutsidePackage, tmp_path: Path) -> None:
    outside_package.install(_CODE, _ENTRY_POINTS)
    bottle = tmp_path / "bottle"
    result = run_edge_aac("stream", "--device", "sea:", "--device", "demo:?seconds=10", "--sink", f"bottle:{bottle}")
    assert (result.returncode, result.stdout) == (0, "")
    records = [json.loads(line.removeprefix("bottled: ")) for line in bottle.read_text().splitlines()]
    assert {record["source"] for record in records} == {"sea", "demo"}


def test_settings_record_and_verb(outside_package: OutsidePackage, tmp_path: Path) -> None:
    outside_package.install(_CODE, _ENTRY_POINTS)
    assert "Hear the tide." in run_edge_aac("--help").stdout
    result = run_edge_aac("tide")
    assert result.stdout.splitlines() == ["1.5", "sea  the tide is at 2.5 m"]
    assert "height_m" in run_edge_aac("config", "--example").stdout
    config = tmp_path / "config.toml"
    config.write_text("[tide]\nheight_m = -1.0\n")
    checked = run_edge_aac("config", "--check", str(config))
    assert checked.returncode == 78
    assert "height_m" in checked.stdout + checked.stderr
    assert built_in_bundles(), "or the tests run on an unfinished installation"


_LEAKY = '''
"""Cameras behind a password that are not there, or go away."""
from __future__ import annotations

import threading
import time

import numpy as np

from edge_aac.audio.reconnect import Reconnecting
from edge_aac.errors import DeviceError


class Camera:
    live = True
    state = "listening"
    reconnects = 0
    opened = 0

    def __init__(self, address, label):
        Camera.opened += 1
        if not Camera.opened % 2:  # again and again: the first time nobody may look yet
            raise DeviceError(f"{label} is gone for good")
        self.label = label
        self._closed = threading.Event()
        self._blocks = 3

    def read(self):
        if self._closed.is_set():
            return None
        self._blocks -= 1
        if not self._blocks:
            raise DeviceError(f"{self.label} has hung up")
        return np.zeros(1600, np.float32)

    def lost_samples(self):
        return 0

    def close(self):
        self._closed.set()


def hangs_up(address, context):
    return Camera(address, context.label(address))


def absent(address, context):
    raise DeviceError(f"There is no camera at {context.label(address)}.")


def waits(address, context):
    label = context.label(address)

    def once(closed):
        raise DeviceError(f"there is no route to {label}")

    return Reconnecting(label, once, wait_for_device=context.wait_for_device)
'''


def test_no_secret_of_an_address_is_shown_when_its_source_fails(tmp_path: Path) -> None:
    package = OutsidePackage(tmp_path)
    schemes = {"hangs": f"{NAME}:hangs_up", "absent": f"{NAME}:absent", "waits": f"{NAME}:waits"}
    package.install(_LEAKY, {"edge_aac.sources": schemes})
    env = {"PYTHONPATH": str(tmp_path), "EDGE_AAC_HEALTH_INTERVAL": "0.2"}
    secret = "user:hunter2@camera.example/x?token=t0k3n"
    records = tmp_path / "all.jsonl"
    words = [word for scheme in schemes for word in ("--device", f"{scheme}://{secret}")]
    wanted = {
        "hangs://camera.example/x has hung up",
        "hangs://camera.example/x is gone for good",
        "There is no camera at absent://camera.example/x.",
        "there is no route to waits://camera.example/x",
    }
    with started_edge_aac("stream", *words, "--sink", f"jsonl:{records}", env=env) as process:
        deadline_s = time.monotonic() + TIMEOUT_S
        reasons: set[str] = set()
        while not wanted <= reasons:
            assert time.monotonic() < deadline_s and process.poll() is None, reasons
            time.sleep(0.2)
            lines = records.read_text().splitlines() if records.exists() else []
            reasons = {table["reason"] for line in lines[:-1] if "reason" in (table := json.loads(line))}
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0
    shown = out.decode() + err.decode() + records.read_text()
    assert "hunter2" not in shown and "t0k3n" not in shown
    assert reasons <= {*wanted, "disconnected"}
    assert "waits://camera.example/x cannot be heard and is waited for" in err.decode()


def test_no_secret_of_an_address_of_an_unknown_scheme_is_shown() -> None:
    result = run_edge_aac("stream", "--device", "tape://user:hunter2@host/x?token=t0k3n", "--device", "demo:")
    assert result.returncode == 69
    assert "tape://host/x" in result.stderr and "waited" not in result.stderr
    shown = result.stdout + result.stderr
    shown += run_edge_aac("config", "--show", "--device", "tape://user:hunter2@host/x?token=t0k3n").stdout
    assert "hunter2" not in shown and "t0k3n" not in shown
