"""Runs a graph in ONNX Runtime: on an NVIDIA GPU, or on the CPU to test the same code without a GPU."""

from __future__ import annotations

import shutil
import subprocess
from typing import Any

import numpy as np
import numpy.typing as npt

from verger.errors import SetupError
from verger.kernel.networks.network import Graph

_CUDA, _CPU = "CUDAExecutionProvider", "CPUExecutionProvider"

_EXTRAS = {"cuda": "gpu", "onnx": "onnx"}

# TF32 is off, because it rounds float32 to a mantissa of ten bits. The search for algorithms is heuristic: an
# exhaustive search would be repeated for each batch size, and the last batch of a task often has another size.
_CUDA_OPTIONS = {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}

_NVIDIA_SMI_TIMEOUT_S = 30


class OnnxSession:
    """A graph compiled by ONNX Runtime for one device; only one thread may use it.

    device: "cuda" or "onnx". gpu: the number of the GPU. Raises SetupError if this GPU is not available.
    """

    def __init__(self, graph: Graph, device: str, batch_size: int, gpu: int = 0) -> None:
        runtime = import_runtime(device)
        self.size_px = graph.size_px
        self._batch_size = batch_size
        options = runtime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        if device == "cuda":
            self._session = _on_gpu(runtime, graph.onnx, options, gpu)
        else:
            self._session = runtime.InferenceSession(graph.onnx, options, providers=[_CPU])
        self._input = self._session.get_inputs()[0].name

    def __call__(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return the (n, n_features) vectors of (n, height, width, 3) pixels, `batch_size` at a time."""
        batches = [pixels[i : i + self._batch_size] for i in range(0, len(pixels), self._batch_size)]
        vectors = [self._session.run(None, {self._input: batch})[0] for batch in batches]
        return vectors[0] if len(vectors) == 1 else np.concatenate(vectors)


def import_runtime(device: str) -> Any:
    """Return the module onnxruntime; raises SetupError if it is not installed."""
    extra = _EXTRAS[device]
    try:
        import onnxruntime
    except ImportError as error:
        raise SetupError(f"device = {device!r} needs ONNX Runtime: pip install 'verger[{extra}]'") from error
    return onnxruntime


def _on_gpu(runtime: Any, model: bytes, options: Any, gpu: int) -> Any:
    providers = runtime.get_available_providers()
    if _CUDA not in providers:
        raise SetupError(
            f"device = 'cuda', but the installed ONNX Runtime ({runtime.__version__}) has no CUDA provider, only "
            f"{', '.join(providers)}: pip uninstall onnxruntime, then pip install 'verger[gpu]'"
        )
    if hasattr(runtime, "preload_dlls"):  # loads CUDA and cuDNN from their pip packages
        runtime.preload_dlls()
    try:
        cuda = (_CUDA, {"device_id": str(gpu), **_CUDA_OPTIONS})
        session = runtime.InferenceSession(model, options, providers=[cuda])
    except Exception as error:  # onnxruntime raises errors of many classes
        raise _no_gpu(gpu, " ".join(str(error).split())) from error
    # ONNX Runtime falls back to the CPU without an error.
    if session.get_providers()[0] != _CUDA:
        raise _no_gpu(gpu, "ONNX Runtime fell back to the CPU")
    return session


def _no_gpu(gpu: int, cause: str) -> SetupError:
    visible = ", ".join(visible_gpus()) or "none"
    return SetupError(
        f"device = 'cuda', but GPU {gpu} cannot be used ({cause}); nvidia-smi shows: {visible}. Install the "
        "driver, CUDA and cuDNN that this ONNX Runtime needs (docs/gpu.md), or use --device cpu"
    )


def visible_gpus() -> list[str]:
    """Return the numbers of this machine's GPUs, as nvidia-smi lists them; an empty list without nvidia-smi."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    command = [program, "--query-gpu=index", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_NVIDIA_SMI_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.split() if done.returncode == 0 else []
