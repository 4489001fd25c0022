"""Links microcontrollers: their microphones are sources, their displays and vibrators are sinks."""

import edge_aac  # noqa: F401 - before any module here imports onnxruntime: it keeps that from reporting
