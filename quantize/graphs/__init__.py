"""ONNX graphs and surgery on them, without torch."""
