"""The endpoint that Prometheus scrapes and containers ask for their health."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from edge_aac.errors import ConfigError
from edge_aac.service.metrics_settings import MetricsSettings, host_and_port
from edge_aac.settings.tree import Settings
from edge_aac.streaming.session import Session

if TYPE_CHECKING:
    from edge_aac.service.http_server import HttpServer, Request, Response

FRESH_S = 0.2
"""Metrics that are asked for again within this time are the same text: whoever asks without end costs little."""

log = logging.getLogger(__name__)


class MetricsEndpoint:
    """Serves ``/metrics`` and ``/health``; a :class:`~edge_aac.service.companions.Companion`.

    ``/health`` (``/-/healthy`` too) is 200 while every part of the session moves, else 503, with a sentence a line.

    Args:
        host, port: address to listen at.
    """

    def __init__(self, host: str, port: int) -> None:
        self.port = port
        """The port; once it was started the one that is listened at, where any was wanted."""
        self._host = host
        self._server: HttpServer | None = None

    def start(self, session: Session) -> None:
        """Serve the figures of a session.

        Raises:
            DeviceError: the address cannot be listened at.
        """
        # Here alone: a stream without an endpoint does without all of it.
        from http import HTTPStatus

        from edge_aac.service.http_server import HttpServer, Response
        from edge_aac.service.metrics import Exposition, SessionCollector, missing_parts

        exposition = Exposition(SessionCollector(session))
        made: dict[str, tuple[float, Response]] = {}

        def metrics(accept: str) -> Response:
            made_s, response = made.get(accept, (0.0, None))
            now_s = time.monotonic()
            if response is None or now_s - made_s >= FRESH_S:
                body, content_type = exposition.text(accept)
                response = Response(HTTPStatus.OK, body, content_type)
                made.clear()  # of one form alone: nobody fills the memory with headers of his own
                made[accept] = now_s, response
            return response

        def respond(request: Request) -> Response:
            if request.path == "/metrics":
                return metrics(request.accept)
            if request.path in {"/health", "/-/healthy"}:
                missing = missing_parts(session)
                status = HTTPStatus.SERVICE_UNAVAILABLE if missing else HTTPStatus.OK
                return Response(status, "".join(f"{line}\n" for line in missing or ["ok"]).encode("utf-8", "replace"))
            status = HTTPStatus.OK if request.path == "/" else HTTPStatus.NOT_FOUND
            return Response(status, b"there are /metrics and /health\n")

        self._server = HttpServer(self._host, self.port, respond)
        self.port = self._server.port
        host = f"[{self._host}]" if ":" in self._host else self._host
        log.info("metrics are served at http://%s:%d/metrics", host, self.port)

    def close(self) -> None:
        """Stop serving; may be called again."""
        if self._server is not None:
            self._server.close()


def open_metrics(settings: Settings) -> MetricsEndpoint | None:
    """The endpoint where the settings have one; see :data:`edge_aac.service.companions.OpenCompanion`.

    Raises:
        ConfigError: the package ``prometheus-client`` is missing.
    """
    listen = settings.get(MetricsSettings).listen
    if listen is None:
        return None
    try:
        import prometheus_client  # noqa: F401 - told now, before anything runs
    except ModuleNotFoundError as error:
        raise ConfigError(
            "metrics need the package 'prometheus-client', which is missing: install it with pip"
        ) from error
    return MetricsEndpoint(*host_and_port(listen))
