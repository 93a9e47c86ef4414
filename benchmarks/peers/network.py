"""The network as the peers run it: verger's exported graph, compiled as verger compiles it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import openvino as ov
from PIL import Image

Vector = npt.NDArray[np.float32]

# As in OpenVinoSession of src/verger, so that the peers differ from verger only in the engine.
CONFIG: dict[str, Any] = {
    "INFERENCE_PRECISION_HINT": "f32",
    "INFERENCE_NUM_THREADS": 1,
    "NUM_STREAMS": 1,
    "ENABLE_CPU_PINNING": False,
}


class PhotoNetwork:
    """Encoded photo in, (n_features,) float32 vector out; one photo per call, one thread."""

    def __init__(self, folder: str) -> None:
        core = ov.Core()
        model = core.read_model(Path(folder) / "graph.xml")
        self._request = core.compile_model(model, "CPU", CONFIG).create_infer_request()
        _, height, width, _ = model.input(0).shape
        self._size_px = (width, height)
        self._pixels = np.zeros((1, height, width, 3), np.uint8)
        self._request.set_input_tensor(ov.Tensor(self._pixels, shared_memory=True))

    def __call__(self, data: bytes) -> Vector:
        """Decode, resize (Pillow's bicubic) and infer one photo."""
        photo = Image.open(io.BytesIO(data)).convert("RGB")
        self._pixels[0] = np.asarray(photo.resize(self._size_px, Image.Resampling.BICUBIC))
        self._request.infer()
        vector: Vector = self._request.get_output_tensor(0).data[0].copy()
        return vector
