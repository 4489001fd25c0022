"""The section ``[load]``: what is left out when nothing changes, when the machine is too slow, and when it is hot."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator


class LoadSettings(BaseModel):
    """How much work live sources may make; what is heard of a file depends on the file alone."""

    model_config = ConfigDict(frozen=True, defer_build=True, extra="forbid")

    adapt_hop: bool = Field(
        default=True,
        description="Windows of live sources come less often in quiet, when describing takes longer than the hop, and "
        "when the board is hot; false: always at their own hop.",
        json_schema_extra={"flag": "--adapt-hop/--steady-hop", "env": "EDGE_AAC_ADAPT_HOP"},
    )
    max_hop_s: float = Field(
        default=10.0,
        ge=0.1,
        le=10.0,
        description="Longest hop under load and in heat; a source whose own hop is longer keeps that.",
        json_schema_extra={"flag": "--max-hop", "env": "EDGE_AAC_MAX_HOP", "unit": "s"},
    )
    max_quiet_hop_s: float = Field(
        default=4.0,
        ge=0.1,
        le=10.0,
        description="Longest hop while nothing is heard, or nothing new; what begins is noticed within a second.",
        json_schema_extra={"flag": "--max-quiet-hop", "env": "EDGE_AAC_MAX_QUIET_HOP", "unit": "s"},
    )
    warm_c: float | None = Field(
        default=None,
        ge=0.0,
        le=120.0,
        description="Temperature of the processor from which on windows come less often.",
        examples=[65.0],
        json_schema_extra={"flag": "--warm-c", "env": "EDGE_AAC_WARM_C", "unit": "°C", "absent": "15 below hot_c"},
    )
    hot_c: float | None = Field(
        default=None,
        ge=0.0,
        le=120.0,
        description="Temperature from which on windows come as seldom as max_hop_s says.",
        examples=[80.0],
        json_schema_extra={
            "flag": "--hot-c",
            "env": "EDGE_AAC_HOT_C",
            "unit": "°C",
            "absent": "3 below where the kernel slows the processor down, 80 where it does not say",
        },
    )
    same_sound: float | None = Field(
        default=None,
        ge=0.0,
        le=1.0,
        description="Windows whose audio embedding is at least this close (cosine) to that of the last captioned one "
        "are not decoded: their event goes on.",
        examples=[0.98],
        json_schema_extra={"flag": "--same-sound", "env": "EDGE_AAC_SAME_SOUND", "absent": "all are decoded"},
    )
    same_level_db: float = Field(
        default=2.0,
        ge=0.0,
        le=60.0,
        description="Windows that are louder or softer by more than this are decoded, however alike they are.",
        json_schema_extra={"flag": "--same-level", "env": "EDGE_AAC_SAME_LEVEL", "unit": "dB"},
    )
    refresh_s: float = Field(
        default=60.0,
        ge=0.1,
        le=86_400.0,
        description="Sound that does not change is decoded again after so long at the latest.",
        json_schema_extra={"flag": "--refresh", "env": "EDGE_AAC_REFRESH", "unit": "s"},
    )

    @model_validator(mode="after")
    def _warm_before_hot(self) -> LoadSettings:
        if self.warm_c is not None and self.hot_c is not None and self.warm_c >= self.hot_c:
            raise ValueError(f"warm_c ({self.warm_c:g}) has to be lower than hot_c ({self.hot_c:g})")
        return self
