"""Forms of graphs for processors, through ONNX Runtime."""
