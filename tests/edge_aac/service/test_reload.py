"""Which settings a reload puts in place, and which it names as those that need a restart."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_aac.service.reload import need_restart
from edge_aac.settings.layers import Layer
from edge_aac.settings.tree import Settings, load_settings
from tests.edge_aac.outside_package import NAME, OutsidePackage

_OUTSIDE = """
from typing import ClassVar

from pydantic import BaseModel, ConfigDict


class TideSettings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    height_m: float = 1.5


class BellSettings(TideSettings):
    ARRAY: ClassVar[bool] = True
"""


def _settings(folder: Path, text: str) -> Settings:
    path = folder / "config.toml"
    path.write_text(text)
    return load_settings(path, Layer())


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", []),
        ('[stream]\nnode = "attic"\n', ["stream.node"]),
        ('[stream]\nnode = "kitchen"\nhop_s = 1.0\nsilence_dbfs = -60.0\nmin_score = 0.1\nfamiliar_only = true\n', []),
        ("[health]\ninterval_s = 5.0\n[load]\nmax_hop_s = 9.0\n[captioner]\nseed = 5\n", []),
        ('[[sources]]\naddress = "demo:"\n[[sinks]]\nkind = "stdout"\n', []),
        ("[tide]\nheight_m = 2.0\n", ["tide.height_m"]),
        ("[[bells]]\nheight_m = 2.0\n", ["bells"]),
    ],
)
def test_a_setting_is_put_in_place_or_named(
    text: str, named: list[str], tmp_path: Path, outside_package: OutsidePackage
) -> None:
    sections = {"tide": f"{NAME}:TideSettings", "bells": f"{NAME}:BellSettings"}
    outside_package.install(_OUTSIDE, {"edge_aac.settings": sections})
    before = _settings(tmp_path, '[stream]\nnode = "kitchen"\n')
    after = _settings(tmp_path, text if "node" in text else f'[stream]\nnode = "kitchen"\n{text}')
    assert list(need_restart(before, after)) == named
    assert list(need_restart(before, before)) == []
