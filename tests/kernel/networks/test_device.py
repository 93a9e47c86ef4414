"""ONNX Runtime gives OpenVINO's vectors. By its CPU provider: no test here has met a GPU."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pyarrow as pa
import pytest
from PIL import Image

from tests.support.networks import save_tiny_onnx
from tests.support.photos import encode, paint
from verger.engine.spark.spark_options import SessionOptions, spark_settings
from verger.errors import SettingsError, SetupError, WeightsError
from verger.kernel.networks import onnx_graph, onnx_operations, onnx_session
from verger.kernel.networks.catalog import NetworkSpec
from verger.kernel.networks.device import gpu_of, prepare_network_on
from verger.kernel.networks.inference import Extractor, cached_extractor
from verger.kernel.networks.network import prepare_network
from verger.kernel.networks.onnx_session import OnnxSession
from verger.tasks.featurize_batches import WorkerOptions, featurize_batches

Vectors = npt.NDArray[np.float64]

MAX_PIXELS = 1_000_000


def vectors_of(extractor: Extractor, photos: Iterable[Image.Image]) -> Vectors:
    return extractor.infer([extractor.resizer.resize(photo) for photo in photos]).astype(np.float64)


def cosines(a: Vectors, b: Vectors) -> Vectors:
    return np.asarray((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1))


def lowest_cosine(a: Vectors, b: Vectors) -> float:
    return float(cosines(a, b).min())


@pytest.fixture(scope="module")
def photos() -> list[Image.Image]:
    return [paint(120 + seed, 90, seed) for seed in range(7)]


@pytest.mark.parametrize(
    ("model", "weights", "views"),
    [
        ("fruitnet", None, "whole"),
        pytest.param("MobileNetV2", "random:3", "whole", marks=pytest.mark.slow),
        ("fruitnet+TINY", None, "5"),
        ("fruitnet+TINY", None, "crops"),
    ],
)
def test_onnx_runtime_gives_openvinos_vectors(
    model: str, weights: str | None, views: str, photos: list[Image.Image], tiny_model: str
) -> None:
    spec = NetworkSpec(model.replace("TINY", tiny_model), weights, views=views)
    ours = vectors_of(Extractor(prepare_network_on(spec, "onnx", batch_size=3)), photos)
    theirs = vectors_of(Extractor(prepare_network(spec)), photos)
    assert ours.shape == theirs.shape == (7, prepare_network(spec).n_features)
    assert np.ptp(theirs, axis=0).max() > 0.01 * np.abs(theirs).max(), "the vectors must differ between photos"
    assert lowest_cosine(ours, theirs) >= 0.9999


SMALL = ["EfficientNetB0", "ResNet50", "VGG16", "DenseNet121", "InceptionV3", "NASNetMobile", "ConvNeXtTiny"]


@pytest.mark.slow
@pytest.mark.parametrize("model", [*SMALL, "MobileNet", "MobileNetV3Small", "Xception", "ResNet50V2"])
def test_every_family_of_networks_can_be_translated(
    model: str, photos: list[Image.Image], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VERGER_CACHE", str(tmp_path))
    spec = NetworkSpec(model, "random:7")
    ours, theirs = (vectors_of(Extractor(prepare_network_on(spec, device)), photos) for device in ("onnx", "cpu"))
    # Random weights turn a rounding into another vector for a single photo; a wrong translation turns all of them.
    found = cosines(ours, theirs)
    assert np.median(found) >= 0.9999 and found.min() >= 0.99


def test_flattened_maps_stay_with_their_photo(photos: list[Image.Image]) -> None:
    spec = NetworkSpec("MobileNetV2", "random:7", "flatten")
    ours, theirs = (
        vectors_of(Extractor(prepare_network_on(spec, device)), photos[:2]) for device in ("onnx", "cpu")
    )
    assert lowest_cosine(ours, theirs) >= 0.9999


def test_the_translation_is_cached_by_its_content(
    tiny_model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VERGER_CACHE", str(tmp_path))
    first = prepare_network_on(NetworkSpec(tiny_model), "onnx")
    assert len(list((tmp_path / "onnx").iterdir())) == 1
    monkeypatch.setattr(onnx_graph, "translate", lambda graph: pytest.fail("translated again"))
    assert prepare_network_on(NetworkSpec(tiny_model), "onnx").graphs == first.graphs
    onnx.checker.check_model(onnx.load_from_string(first.graphs[0].onnx), full_check=True)


def test_a_network_is_sent_without_what_its_device_does_not_need(tiny_model: str) -> None:
    network = prepare_network_on(NetworkSpec(tiny_model), "onnx")
    assert (network.describe()["device"], network.describe()["batch_size"]) == ("onnx", 4)
    assert prepare_network(NetworkSpec(tiny_model)).describe()["device"] == "cpu"
    assert network.key != prepare_network(NetworkSpec(tiny_model)).key
    (graph,) = network.for_workers().graphs
    assert graph.onnx and not graph.xml and not graph.weights
    np.testing.assert_array_equal(Extractor(network.for_workers()).featurize(paint(9, 9)).shape, (4,))


def save_odd_onnx(path: Path) -> None:
    """A network with an operation that no image model of keras.applications has."""
    save_tiny_onnx(path)
    model = onnx.load(path)
    model.graph.node[1].op_type = "Selu"
    onnx.save(model, path)


def test_an_untranslatable_operation_is_named(tmp_path: Path) -> None:
    save_odd_onnx(tmp_path / "odd.onnx")
    spec = NetworkSpec(str(tmp_path / "odd.onnx"))
    with pytest.raises(WeightsError, match=r"operation Selu .* cannot be translated to ONNX: use --device cpu"):
        prepare_network_on(spec, "onnx")


def test_a_translation_that_computes_something_else_is_refused(
    tiny_model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VERGER_CACHE", str(tmp_path))
    monkeypatch.setitem(onnx_operations._RENAMED, "Relu", "Sigmoid")
    with pytest.raises(WeightsError, match="computes different vectors"):
        prepare_network_on(NetworkSpec(tiny_model), "onnx")
    assert not (tmp_path / "onnx").exists()


# Batches


@pytest.fixture(scope="module")
def extractor(tiny_model: str) -> Extractor:
    return Extractor(prepare_network_on(NetworkSpec(tiny_model), "onnx", batch_size=4))


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("n_photos", [4, 11])
def test_a_broken_photo_rejects_only_itself_and_the_order_is_kept(
    extractor: Extractor, n_photos: int, n_threads: int
) -> None:
    contents = [encode(paint(20 + i, 15, i), "PNG") for i in range(n_photos)]
    contents[1], contents[2] = b"not a photo", b""
    batch = pa.RecordBatch.from_pydict({"path": [str(i) for i in range(n_photos)], "content": contents})
    options = WorkerOptions(MAX_PIXELS, n_threads=n_threads)
    found = featurize_batches([batch], extractor, options)
    rows = pa.Table.from_batches(found).to_pylist()
    assert [row["path"] for row in rows] == [str(i) for i in range(n_photos)]
    assert {row["path"]: row["reason"] for row in rows if row["reason"]} == {"1": "not-an-image", "2": "empty"}
    for i, row in enumerate(rows):
        if row["reason"] is None:
            assert row["width"] == 20 + i
            np.testing.assert_allclose(row["features"], extractor.featurize(paint(20 + i, 15, i)), rtol=1e-5)


def test_a_batch_of_broken_photos_does_not_call_the_network(extractor: Extractor) -> None:
    batch = pa.RecordBatch.from_pydict({"path": list("abcde"), "content": [b"words"] * 5})
    (rows,) = featurize_batches([batch], extractor, WorkerOptions(MAX_PIXELS))
    assert rows["reason"].to_pylist() == ["not-an-image"] * 5
    assert rows["features"].null_count == 5


def test_the_network_is_asked_for_whole_batches(monkeypatch: pytest.MonkeyPatch, extractor: Extractor) -> None:
    sizes = []
    infer = extractor.infer

    def watched(photos: Any) -> Any:
        sizes.append(len(photos))
        return infer(photos)

    monkeypatch.setattr(extractor, "infer", watched)
    contents = [encode(paint(9, 9), "PNG")] * 70
    batch = pa.RecordBatch.from_pydict({"path": ["p"] * 70, "content": contents})
    list(featurize_batches([batch], extractor, WorkerOptions(MAX_PIXELS)))
    assert sizes == [4] * 17 + [2]


# What may be missing


@pytest.mark.parametrize(
    ("device", "batch_size", "precision", "message"),
    [
        ("gpu", None, "f32", "device = 'gpu' is not valid: expected one of cpu, cuda, onnx"),
        ("cpu", 8, "f32", "batch_size = 8"),
        ("onnx", 0, "f32", "batch_size = 0"),
        ("onnx", None, "bf16", "precision = 'bf16' is not valid: expected f32 with device = 'onnx'"),
    ],
)
def test_a_bad_choice_is_an_error(device: str, batch_size: int | None, precision: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        prepare_network_on(NetworkSpec("fruitnet", precision=precision), device, batch_size)


@pytest.mark.parametrize(("device", "extra"), [("cuda", "gpu"), ("onnx", "onnx")])
@pytest.mark.parametrize("module", ["onnxruntime", "onnx"])
def test_a_missing_extra_says_what_to_install(
    device: str, extra: str, module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VERGER_CACHE", str(tmp_path))
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(SetupError, match=rf"pip install 'verger\[{extra}\]'|'verger\[{extra}\]'"):
        prepare_network_on(NetworkSpec("fruitnet"), device)


def test_an_onnx_runtime_without_cuda_is_an_error(tiny_model: str) -> None:
    if "CUDAExecutionProvider" in onnx_session.import_runtime("cuda").get_available_providers():
        pytest.skip("this ONNX Runtime has CUDA")
    network = prepare_network_on(NetworkSpec(tiny_model), "cuda")
    assert (network.device, network.batch_size) == ("cuda", 64)
    with pytest.raises(SetupError, match=r"has no CUDA provider, only .*CPUExecutionProvider.*verger\[gpu\]"):
        Extractor(network)


class FakeRuntime(SimpleNamespace):
    """An ONNX Runtime with CUDA; what its sessions end on is up to the test."""

    def __init__(self, ends_on: str) -> None:
        self.asked: list[Any] = []
        super().__init__(
            SessionOptions=SimpleNamespace,
            get_available_providers=lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"],
            InferenceSession=self._open,
            ends_on=ends_on,
        )

    def _open(self, model: bytes, options: object, providers: list[Any]) -> Any:
        self.asked.append(providers)
        named = SimpleNamespace(name="pixels")
        return SimpleNamespace(get_providers=lambda: [self.ends_on], get_inputs=lambda: [named])


def test_a_fallback_of_onnx_runtime_to_the_cpu_is_an_error(
    tiny_model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\nprintf '0\\n1\\n'\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(onnx_session, "import_runtime", lambda device: FakeRuntime("CPUExecutionProvider"))
    (graph,) = prepare_network(NetworkSpec(tiny_model)).graphs
    with pytest.raises(SetupError, match=r"GPU 5 cannot be used .* nvidia-smi shows: 0, 1\."):
        OnnxSession(graph, "cuda", batch_size=64, gpu=5)


def test_the_session_is_on_the_gpu_asked_for_and_computes_in_whole_float32(
    tiny_model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = FakeRuntime("CUDAExecutionProvider")
    monkeypatch.setattr(onnx_session, "import_runtime", lambda device: runtime)
    network = dataclasses.replace(prepare_network(NetworkSpec(tiny_model)), device="cuda", key="fake")
    on_one = cached_extractor("fake", lambda: network, 1)
    assert cached_extractor("fake", lambda: network, 1) is on_one
    assert cached_extractor("fake", lambda: network, 0) is not on_one
    assert cached_extractor("fake", lambda: network, 1) is on_one, "one session a GPU, and it is kept"
    options = [options for ((_, options),) in runtime.asked]
    assert [o["device_id"] for o in options] == ["1", "0"]
    assert {o["use_tf32"] for o in options} == {"0"}


# Which GPU


class FakeTask:
    def __init__(self, partition: int, addresses: list[str] | None) -> None:
        self._partition, self._addresses = partition, addresses

    def partitionId(self) -> int:  # noqa: N802
        return self._partition

    def resources(self) -> dict[str, Any]:
        return {} if self._addresses is None else {"gpu": SimpleNamespace(name="gpu", addresses=self._addresses)}


@pytest.fixture
def _three_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("verger.kernel.networks.onnx_session.visible_gpus", lambda: ["0", "1", "2"])


@pytest.mark.usefixtures("_three_gpus")
def test_a_task_takes_the_gpu_that_spark_gives_it() -> None:
    assert gpu_of(FakeTask(5, ["1"])) == 1
    assert [gpu_of(FakeTask(partition, None)) for partition in range(5)] == [0, 1, 2, 0, 1]
    with pytest.raises(SetupError, match="the GPU address 'GPU-0a1b'"):
        gpu_of(FakeTask(0, ["GPU-0a1b"]))


def test_a_cluster_is_asked_for_gpus_and_a_local_master_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HADOOP_CONF_DIR", "/etc/hadoop/conf")

    def asked(master: str, *conf: str, uses_gpus: bool = True) -> dict[str, str]:
        conf = ("spark.kubernetes.container.image=verger", *conf)
        settings = spark_settings(SessionOptions(master, conf=conf, uses_gpus=uses_gpus))
        return {key: value for key, value in settings.items() if ".resource." in key}

    script = asked("yarn")["spark.executor.resource.gpu.discoveryScript"]
    assert Path(script).stat().st_mode & 0o111, "Spark runs it"
    assert asked("k8s://https://host")["spark.task.resource.gpu.amount"] == "1"
    shared = "spark.task.resource.gpu.amount=0.25"
    assert asked("k8s://https://host", shared)["spark.task.resource.gpu.amount"] == "0.25"
    assert not asked("local[4]") and not asked("local") and not asked("yarn", uses_gpus=False)
