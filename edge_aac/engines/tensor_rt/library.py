"""TensorRT's Python module: where it is imported, and where its messages go.

It comes with JetPack (apt), not with pip. One code path for 10.3 to 11.4, of which the calls were checked against
NVIDIA's own bindings of 10.3.0, 10.13.2 and 11.4.0; the library itself never ran here.
"""

from __future__ import annotations

import importlib
import logging
import re
from typing import Any

from edge_aac.errors import DeviceError

OLDEST_VERSION = (10, 3)

_log = logging.getLogger("edge_aac.tensorrt")
_LEVELS = {
    "INTERNAL_ERROR": logging.ERROR,
    "ERROR": logging.ERROR,
    "WARNING": logging.WARNING,
    "INFO": logging.DEBUG,  # several lines a layer
    "VERBOSE": logging.DEBUG,
}
_ERRORS_KEPT = 20


def load_tensorrt() -> Any:
    """The module ``tensorrt``.

    Raises:
        DeviceError: it is not installed, its library cannot be loaded, or it is older than 10.3.
    """
    try:
        trt = importlib.import_module("tensorrt")
    except (ImportError, OSError) as error:
        raise DeviceError(
            f"TensorRT cannot be imported ({_first_line(error)}): it comes with JetPack, so run "
            "`sudo apt install python3-libnvinfer` and make the virtual environment with --system-site-packages"
        ) from error
    numbers = tuple(int(number) for number in re.findall(r"\d+", trt.__version__)[:2])
    if numbers < OLDEST_VERSION:
        raise DeviceError(
            f"TensorRT {trt.__version__} is too old, edge-aac needs {'.'.join(map(str, OLDEST_VERSION))} or newer: "
            "install JetPack 6.1 or newer"
        )
    return trt


class TensorRtLog:
    """TensorRT's messages: forwarded to ``logging``, the errors kept for a sentence.

    Args:
        trt: the module.

    Attributes:
        sink: the ``ILogger`` to give to TensorRT; it must live as long as what it was given to.
    """

    def __init__(self, trt: Any) -> None:
        errors: list[str] = []

        class Forward(trt.ILogger):  # type: ignore[misc]
            def __init__(self) -> None:
                trt.ILogger.__init__(self)

            def log(self, severity: Any, msg: str) -> None:
                level = _LEVELS[severity.name]
                if level == logging.ERROR and len(errors) < _ERRORS_KEPT:
                    errors.append(_first_line(msg))
                _log.log(level, "%s", msg)

        self.sink = Forward()
        self._errors = errors

    def forget(self) -> None:
        """Leave the errors of what was done before behind."""
        self._errors.clear()

    def errors(self) -> list[str]:
        """First lines of the first errors since :meth:`forget`."""
        return list(self._errors)

    def because(self) -> str:
        """The first error in brackets: TensorRT says why in the log alone."""
        return f"({self._errors[0] if self._errors else 'it says no reason'})"


def _first_line(message: object) -> str:
    return str(message).strip().partition("\n")[0]
