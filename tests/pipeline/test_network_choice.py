from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import s3
from tests.support.chain import manifest_here, verger
from verger.errors import SettingsError, WeightsError
from verger.pipeline.network_choice import network_spec
from verger.sample import SampleOptions, render_sample
from verger.settings import load_settings
from verger.storage.objects.stores import store_of


@pytest.mark.parametrize(
    ("flags", "model"),
    [
        ({}, "fruitnet"),
        ({"model": "MobileNetV2"}, "MobileNetV2"),
        ({"weights": "imagenet"}, "MobileNetV2"),
        ({"weights": "random:0"}, "MobileNetV2"),
        ({"pooling": "max"}, "MobileNetV2"),
        ({"preprocessing": "torch"}, "MobileNetV2"),
        ({"weights": "tuned/model.keras"}, "tuned/model.keras"),
        ({"model": "VGG16", "weights": "tuned.keras"}, "VGG16"),
    ],
)
def test_without_imagenet_weights_at_hand_fruitnet_is_the_model_of_those_who_name_none(
    flags: dict[str, str], model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    assert network_spec(load_settings(**flags)).model == model


def test_with_the_weights_at_hand_it_is_mobilenet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    (tmp_path / "models").mkdir()
    name = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"
    (tmp_path / "models" / name).touch()
    assert network_spec(load_settings()).model == "MobileNetV2"


def test_an_own_graph_named_as_weights_keeps_its_own_preprocessing() -> None:
    assert network_spec(load_settings(weights="tuned/model.keras")).effective_preprocessing == "none"


def test_views_come_from_flags_the_environment_and_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert network_spec(load_settings()).views == "whole"
    for text, name in (('"center"', "center"), ("5", "5"), ("1", "whole")):
        Path("verger.toml").write_text(f"views = {text}\n")
        assert network_spec(load_settings()).views == name
    monkeypatch.setenv("VERGER_VIEWS", "crops")
    assert network_spec(load_settings()).views == "crops"
    assert network_spec(load_settings(views="1")).views == "whole"
    assert network_spec(load_settings(views=5)).views == "5"
    with pytest.raises(SettingsError, match=r"views = 'four'.*whole, center, crops, 5"):
        network_spec(load_settings(views="four"))


@pytest.mark.usefixtures("spark")
def test_the_first_run_of_a_machine_without_weights_says_which_network_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    render_sample(tmp_path / "photos", SampleOptions(per_kind=2, seed=3))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    manifest = manifest_here("run", "photos", "out", "--no-report", cwd=tmp_path)
    assert manifest["network"]["model"] == "fruitnet" and manifest["network"]["weights_from"] == "bundled"
    assert manifest["counts"]["features"] == 20 and manifest["parity"]["min_cosine"] > 0.9999
    done = verger("features", "photos", "out2", "--limit", "2", "--no-report", cwd=tmp_path)
    assert done.returncode == 0 and "network: fruitnet, bundled with verger" in done.stderr


def test_a_network_of_an_object_store_is_brought_here_and_again_when_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VERGER_CACHE", str(tmp_path))
    with s3.serving():
        store_of.cache_clear()
        for content in (b"one", b"another"):
            s3.put("nets/own.onnx", content)
            spec = network_spec(load_settings(model=f"s3://{s3.BUCKET}/nets/own.onnx"))
            assert Path(spec.model).name == "own.onnx" and Path(spec.model).read_bytes() == content
        with pytest.raises(WeightsError, match=r"nets/none\.h5: there is no such object"):
            network_spec(load_settings(model="VGG16", weights=f"s3://{s3.BUCKET}/nets/none.h5"))
    store_of.cache_clear()
