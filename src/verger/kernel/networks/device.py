"""Devices: prepare a network for the CPU (OpenVINO) or a GPU (ONNX Runtime), and choose the GPU of a Spark task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal, Protocol, get_args

from verger.errors import SettingsError, SetupError
from verger.kernel.networks.catalog import NetworkSpec
from verger.kernel.networks.network import Network, prepare_network

Device = Literal["cpu", "cuda", "onnx"]

DEVICES: tuple[str, ...] = get_args(Device)
CPU, CUDA, ONNX = DEVICES

# Photos in one call of ONNX Runtime. A CPU gets few, because they must fit into its cache; a GPU gets many, because
# it computes them in parallel.
_BATCH_SIZES = {CUDA: 64, ONNX: 4}

GPU_RESOURCE = "gpu"


def prepare_network_on(spec: NetworkSpec, device: str, batch_size: int | None = None) -> Network:
    """Prepare the network of `spec` for a device: if the device uses ONNX Runtime, translate the network to ONNX.

    batch_size: photos in one call; None: the device's default. Raises WeightsError, SettingsError, and SetupError
    if a package of an extra is missing.
    """
    if device not in DEVICES:
        raise SettingsError("device", device, DEVICES)
    if batch_size is not None and batch_size < 1:
        raise SettingsError("batch_size", batch_size, "1 or more")
    if device == CPU:
        if batch_size not in (None, 1):
            raise SettingsError("batch_size", batch_size, "1 (or no value) with device = 'cpu'")
        network = prepare_network(spec)
        return network if batch_size is None else replace(network, batch_size=batch_size)
    if spec.precision != "f32":
        raise SettingsError("precision", spec.precision, f"f32 with device = {device!r}")
    from verger.kernel.networks.onnx_session import import_runtime

    import_runtime(device)  # fail before the conversion, which is slow
    network = prepare_network(spec)
    from verger.kernel.networks.onnx_graph import add_onnx

    return replace(
        network,
        key=f"{network.key}-{device}",
        device=device,
        batch_size=batch_size or _BATCH_SIZES[device],
        graphs=tuple(add_onnx(graph) for graph in network.graphs),
    )


class SparkResource(Protocol):
    """The attribute of pyspark's ResourceInformation that verger uses: the addresses of a task's GPUs."""

    @property
    def addresses(self) -> Sequence[str]: ...  # noqa: D102


class SparkTask(Protocol):
    """The methods of pyspark's TaskContext that verger uses to choose the GPU."""

    def resources(self) -> Mapping[str, SparkResource]: ...  # noqa: D102

    def partitionId(self) -> int: ...  # noqa: D102, N802


def gpu_of(task: SparkTask) -> int:
    """Return the number of the GPU for a Spark task.

    This is the GPU that Spark assigned to the task. A local master assigns no GPUs: then the tasks get the GPUs in
    turn, by partition number. Raises SetupError if Spark's address of the GPU is not a number.
    """
    assigned = task.resources().get(GPU_RESOURCE)
    if assigned is None:
        from verger.kernel.networks.onnx_session import visible_gpus

        return task.partitionId() % max(1, len(visible_gpus()))
    address = assigned.addresses[0]
    if not address.isdigit():
        raise SetupError(
            f"Spark assigned the GPU address {address!r}, but verger needs a number: fix the discovery script"
        )
    return int(address)
