"""The section ``[metrics]``."""

from __future__ import annotations

import re

from pydantic import BaseModel, ConfigDict, Field, field_validator

DEFAULT_HOST = "127.0.0.1"
HIGHEST_PORT = 65_535

_LISTEN = re.compile(r"(?:(?P<host>\[[0-9A-Fa-f:.%\w]+\]|[A-Za-z0-9._-]+)?:)?(?P<port>[0-9]{1,5})")


class MetricsSettings(BaseModel):
    """Settings of the endpoint that Prometheus scrapes."""

    model_config = ConfigDict(frozen=True, defer_build=True, extra="forbid")

    listen: str | None = Field(
        default=None,
        description="HOST:PORT at which /metrics and /health are served; a port alone is served to this machine only.",
        examples=["127.0.0.1:9464"],
        json_schema_extra={
            "flag": "--metrics",
            "metavar": "[HOST:]PORT",
            "env": "EDGE_AAC_METRICS",
            "absent": "nothing is served",
        },
    )

    @field_validator("listen")
    @classmethod
    def _usable(cls, listen: str | None) -> str | None:
        if listen is not None:
            host_and_port(listen)
        return listen


def host_and_port(listen: str) -> tuple[str, int]:
    """Split ``HOST:PORT``, ``[IPv6]:PORT`` or ``PORT``; without a host it is this machine's own address.

    Raises:
        ValueError: it is none of these, or the port is not one.
    """
    match = _LISTEN.fullmatch(listen)
    if match is None or not 0 <= int(match["port"]) <= HIGHEST_PORT:
        raise ValueError("expected HOST:PORT, [IPv6]:PORT or a port, such as 127.0.0.1:9464")
    return (match["host"] or DEFAULT_HOST).strip("[]"), int(match["port"])
