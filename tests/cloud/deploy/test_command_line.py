"""What a job is sent: the settings that would have held here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from verger.cloud.deploy.command_line import (
    files_to_upload,
    job_flags,
    replace_files,
    uses_cloud_files,
    with_weights_file,
)
from verger.errors import CloudError, SettingsError
from verger.kernel.networks.network import imagenet_file
from verger.settings import SETTING_GROUPS, load_settings, origins


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def flags(command: str = "run", **given: Any) -> tuple[str, ...]:
    return job_flags(load_settings(**given), origins(**given), SETTING_GROUPS[command])


def test_flags_give_the_same_settings_again() -> None:
    words = flags(variance="0.95", overwrite=True, report=False, export="csv,json", sample="5%")
    assert words == (
        *("--sample", "0.05", "--variance", "0.95", "--export", "csv,json", "--overwrite", "--no-report"),
    )


def test_the_file_and_the_environment_go_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "verger.toml").write_text('model = "VGG16"\nmaster = "local[1]"\n')
    monkeypatch.setenv("VERGER_POOLING", "max")
    assert flags(limit="5") == ("--limit", "5", "--model", "VGG16", "--pooling", "max")


def test_what_the_command_does_not_have_is_refused_where_it_was_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match=r"variance = 0\.5"):
        flags("pack", variance="0.5")
    monkeypatch.setenv("VERGER_VARIANCE", "0.5")
    assert flags("pack", limit="3") == ("--limit", "3")


def test_labels_in_a_file_of_this_machine_are_refused() -> None:
    with pytest.raises(CloudError, match="a file on this machine"):
        flags(label="csv:labels.csv")


def test_a_network_of_files_is_carried_and_that_of_a_store_is_not() -> None:
    assert files_to_upload(load_settings(model="own.onnx+fruitnet"), "aws") == ("own.onnx",)
    assert files_to_upload(load_settings(model="VGG16", weights="w.h5"), "aws") == ("w.h5",)
    assert files_to_upload(load_settings(model="VGG16", weights="/Volumes/usb/w.h5"), "aws") == (
        "/Volumes/usb/w.h5",
    )
    assert files_to_upload(load_settings(model="VGG16", weights="s3://bucket/w.h5"), "aws") == ()
    assert files_to_upload(load_settings(), "aws") == ()


@pytest.mark.parametrize(
    ("provider", "place"), [("gcp", "gs://orchard/files/w.h5"), ("databricks", "/Volumes/main/orchard/files/w.h5")]
)
def test_where_no_file_is_carried_it_is_named_as_the_machines_see_it(provider: str, place: str) -> None:
    local, remote = (load_settings(model="VGG16", weights=weights) for weights in ("w.h5", place))
    with pytest.raises(CloudError, match=f"copy w.h5 to the cloud.*{place.split('/')[1]}"):
        files_to_upload(local, provider)
    assert (
        files_to_upload(remote, provider) == ()
        and uses_cloud_files(remote, provider)
        and not uses_cloud_files(local, provider)
    )


def test_files_are_called_by_where_they_are_now_whole_and_as_parts_of_a_network() -> None:
    uris = {name: f"s3://b/{name}" for name in ("net.keras", "fruitnet.keras", "a+b.h5")}
    asked = ("--model", "net.keras+fruitnet.keras+fruitnet", "--weights", "a+b.h5", "--prefix", "my-net.keras")
    assert replace_files(asked, uris) == (
        *("--model", "s3://b/net.keras+s3://b/fruitnet.keras+fruitnet"),
        *("--weights", "s3://b/a+b.h5", "--prefix", "my-net.keras"),
    )


def test_imagenet_weights_go_along_where_they_are_at_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    for model in ("MobileNetV2", "VGG16", "MobileNetV2+fruitnet"):
        with pytest.raises(CloudError, match=r"ImageNet weights of \w+: use --weights"):
            with_weights_file(load_settings(model=model))
    with pytest.raises(CloudError, match="weights of EfficientNetLite0: use --model EfficientNetLite2"):
        with_weights_file(load_settings(model="EfficientNetLite0"))
    imagenet_file().parent.mkdir()
    imagenet_file().touch()
    assert with_weights_file(load_settings(model="MobileNetV2")).weights == str(imagenet_file())
    for given in (
        {"model": "fruitnet"},
        {"model": "EfficientNetLite2+fruitnet"},
        {"model": "VGG16", "weights": "w.h5"},
        {},
    ):
        assert with_weights_file(load_settings(**given)) == load_settings(**given)
