"""The endpoint that Prometheus scrapes and containers ask for their health."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus

from edge_aac.errors import ConfigError
from edge_aac.service.http_server import HttpServer, Request, Response
from edge_aac.service.metrics_settings import MetricsSettings, host_and_port
from edge_aac.service.watched import Watched

FRESH_S = 0.2
"""Metrics that are asked for again within this time are the same text: whoever asks without end costs little."""

log = logging.getLogger(__name__)


class MetricsEndpoint:
    """Serves ``/metrics`` and ``/health`` while it is open.

    ``/health`` (``/-/healthy`` too) is 200 while every part of the session moves, else 503, with a sentence a line.

    Args:
        host, port: address to listen at.

    Raises:
        DeviceError: it cannot be listened at.
    """

    def __init__(self, host: str, port: int) -> None:
        from edge_aac.service.metrics import Exposition

        self._watched: Watched | None = None
        self._exposition = Exposition(lambda: self._watched)
        self._made: dict[str, tuple[float, Response]] = {}
        self._server = HttpServer(host, port, self._respond)
        self.port = self._server.port
        """The port that is listened at."""
        log.info("metrics are served at http://%s:%d/metrics", f"[{host}]" if ":" in host else host, self.port)

    def watch(self, watched: Watched | None) -> None:
        """Give the figures of a session from now on; of None only those of the process."""
        self._watched = watched

    def close(self) -> None:
        """Stop serving; may be called again."""
        self._server.close()

    def _respond(self, request: Request) -> Response:
        if request.path == "/metrics":
            return self._metrics(request.accept)
        if request.path in {"/health", "/-/healthy"}:
            return self._health()
        if request.path == "/":
            return Response(HTTPStatus.OK, b"edge-aac serves /metrics and /health\n")
        return Response(HTTPStatus.NOT_FOUND, b"there are /metrics and /health\n")

    def _metrics(self, accept: str) -> Response:
        made_s, response = self._made.get(accept, (0.0, None))
        now_s = time.monotonic()
        if response is None or now_s - made_s >= FRESH_S:
            body, content_type = self._exposition.text(accept)
            response = Response(HTTPStatus.OK, body, content_type)
            # Of one form alone: nobody fills the memory with headers of his own.
            self._made = {accept: (now_s, response)}
        return response

    def _health(self) -> Response:
        watched = self._watched
        if watched is None:
            return Response(HTTPStatus.SERVICE_UNAVAILABLE, b"starting\n")
        if missing := watched.missing():
            return Response(HTTPStatus.SERVICE_UNAVAILABLE, "".join(f"{line}\n" for line in missing).encode())
        return Response(HTTPStatus.OK, b"ok\n")


@contextmanager
def serving_metrics(settings: MetricsSettings) -> Iterator[Callable[[Watched], None]]:
    """Serve the metrics while this is open, where the settings say so.

    Yields:
        A function that is given the session once there is one.

    Raises:
        ConfigError: the package ``prometheus-client`` is missing.
        DeviceError: the address cannot be listened at.
    """
    if settings.listen is None:
        yield lambda _: None
        return
    try:
        endpoint = MetricsEndpoint(*host_and_port(settings.listen))
    except ModuleNotFoundError as error:
        if error.name != "prometheus_client":
            raise
        raise ConfigError(
            "metrics need the package 'prometheus-client', which is missing: install it with pip"
        ) from error
    try:
        yield endpoint.watch
    finally:
        endpoint.close()
