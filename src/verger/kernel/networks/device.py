"""What computes a network: OpenVINO on the processor, or ONNX Runtime, and then on which GPU."""

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

# Photos a call by ONNX Runtime. A processor's cache holds no more than a few; a GPU idles with less.
_BATCH_SIZES = {CUDA: 64, ONNX: 4}

GPU_RESOURCE = "gpu"


def prepare_on(spec: NetworkSpec, device: str, batch_size: int | None = None) -> Network:
    """Return the network for `spec` on a device, translated to ONNX where it needs that.

    `batch_size` None takes the device's own. Raises WeightsError, SettingsError; SetupError for a missing extra.
    """
    if device not in DEVICES:
        raise SettingsError("device", device, DEVICES)
    if batch_size is not None and batch_size < 1:
        raise SettingsError("batch_size", batch_size, "1 or more")
    if device == CPU:
        if batch_size not in (None, 1):
            raise SettingsError("batch_size", batch_size, "1 with device = 'cpu', or none")
        network = prepare_network(spec)
        return network if batch_size is None else replace(network, batch_size=batch_size)
    if spec.precision != "f32":
        raise SettingsError("precision", spec.precision, f"f32 with device = {device!r}")
    from verger.kernel.networks.onnx_session import import_runtime

    import_runtime(device)  # before anything is converted
    network = prepare_network(spec)
    from verger.kernel.networks.onnx_graph import with_onnx

    return replace(
        network,
        key=f"{network.key}-{device}",
        device=device,
        batch_size=batch_size or _BATCH_SIZES[device],
        graphs=tuple(with_onnx(graph) for graph in network.graphs),
    )


class Resource(Protocol):
    """What Spark has given a task of one kind, as pyspark's ResourceInformation tells it."""

    @property
    def addresses(self) -> Sequence[str]: ...  # noqa: D102


class Task(Protocol):
    """The part of pyspark's TaskContext that decides the GPU."""

    def resources(self) -> Mapping[str, Resource]: ...  # noqa: D102

    def partitionId(self) -> int: ...  # noqa: D102, N802


def gpu_of(task: Task) -> int:
    """Return the number of the GPU that a task is to use; raises SetupError.

    It is the one Spark has given the task. A local master gives none: there the tasks take the machine's in turn.
    """
    given = task.resources().get(GPU_RESOURCE)
    if given is None:
        from verger.kernel.networks.onnx_session import visible_gpus

        return task.partitionId() % max(1, len(visible_gpus()))
    address = given.addresses[0]
    if not address.isdigit():
        raise SetupError(
            f"Spark gives the GPU {address!r}: verger needs its number, as the discovery script has it"
        )
    return int(address)
