"""Runs a graph in OpenVINO on the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from verger.kernel.networks.network import Graph


class OpenVinoSession:
    """A graph compiled by OpenVINO to run on one thread; only one thread may use it.

    Each call of OpenVINO computes `batch_size` photos; a call with fewer photos takes the same time.
    """

    def __init__(self, graph: Graph, precision: str, batch_size: int = 1) -> None:
        import openvino as ov

        core = ov.Core()
        config: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": precision,
            "INFERENCE_NUM_THREADS": 1,
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,
        }
        self.size_px = width, height = graph.size_px
        model = core.read_model(model=graph.xml, weights=graph.weights)
        if batch_size > 1:
            model.reshape([batch_size, height, width, 3])
        self._request = core.compile_model(model, "CPU", config).create_infer_request()
        self._pixels = np.zeros((batch_size, height, width, 3), np.uint8)
        self._request.set_input_tensor(ov.Tensor(self._pixels, shared_memory=True))

    def __call__(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return the (n, n_features) vectors of (n, height, width, 3) pixels."""
        size = len(self._pixels)
        return np.concatenate([self._infer(pixels[start : start + size]) for start in range(0, len(pixels), size)])

    def _infer(self, photos: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        self._pixels[: len(photos)] = photos  # the rest of the batch holds photos of an earlier call
        self._request.infer()
        vectors: npt.NDArray[np.float32] = self._request.get_output_tensor(0).data[: len(photos)].copy()
        return vectors
