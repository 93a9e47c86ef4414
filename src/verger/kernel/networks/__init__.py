"""Neural networks: the catalog, conversion to inference graphs, inference by OpenVINO or ONNX Runtime."""
