from __future__ import annotations

import shutil
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from verger import connectors
from verger.connectors import Connector, connector, fetch, is_provided, obtain, spark_settings
from verger.errors import SetupError


@pytest.fixture
def jars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of jars that somebody has carried here."""
    monkeypatch.setenv(connectors.JARS, str(tmp_path))
    folder = connector("s3a").folder
    folder.mkdir()
    for name in ("hadoop-aws.jar", "sdk.jar"):
        (folder / name).touch()
    return folder


def test_local_folders_need_no_connector() -> None:
    assert spark_settings({"file"}, (), pytest.fail) == {}


def test_the_connector_fits_the_installed_spark_and_leaves_the_bundle_out() -> None:
    found = connector("s3a")
    versions = {module.name: module.version for module in found.modules}
    hadoop = next(path.name for path in connectors._spark_jars().glob("hadoop-client-api-*.jar"))
    assert versions["hadoop-aws"] in hadoop
    assert found.excluded and found.excluded[0][1].endswith("bundle")
    assert next(module.name for module in found.modules if module.is_alone).startswith("spark-hadoop-cloud")


def test_jars_that_are_there_are_used_without_a_network(jars: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9000")
    monkeypatch.setenv("AWS_REGION", "eu-west-3")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-to-be-seen")
    told = spark_settings({"file", "s3a"}, (), pytest.fail)
    assert told["spark.jars"] == f"{jars}/hadoop-aws.jar,{jars}/sdk.jar"
    assert told["spark.hadoop.fs.s3a.endpoint"] == "http://127.0.0.1:9000"
    assert told["spark.hadoop.fs.s3a.endpoint.region"] == told["spark.executorEnv.AWS_REGION"] == "eu-west-3"
    assert told["spark.hadoop.fs.s3a.path.style.access"] == "true"
    assert told["spark.hadoop.fs.s3a.committer.name"] == "magic"
    assert "not-to-be-seen" not in str(told)


@pytest.mark.usefixtures("jars")
def test_amazons_own_endpoint_is_left_to_the_connector(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "config").write_text("[default]\nregion = eu-north-1\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.delenv("AWS_REGION", raising=False)
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    told = spark_settings({"s3a"}, (), pytest.fail)
    assert "spark.hadoop.fs.s3a.endpoint" not in told
    assert told["spark.hadoop.fs.s3a.endpoint.region"] == "eu-north-1"


@pytest.mark.parametrize("name", ["DATABRICKS_RUNTIME_VERSION", "DATAPROC_IMAGE_VERSION"])
def test_a_platform_keeps_its_own_connectors(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_provided("s3a")
    monkeypatch.setenv(name, "1")
    assert spark_settings({"s3a", "gs", "abfss"}, (), pytest.fail) == {}


def test_without_a_network_the_error_says_how_to_do_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(connectors.JARS, str(tmp_path / "jars"))
    monkeypatch.setenv("VERGER_CACHE", str(tmp_path / "cache"))
    nowhere = tmp_path / "ivysettings.xml"
    nowhere.write_text(
        '<ivysettings><settings defaultResolver="none"/><resolvers>'
        f'<filesystem name="none"><artifact pattern="{tmp_path}/[artifact]"/></filesystem>'
        "</resolvers></ivysettings>"
    )
    said: list[str] = []
    with pytest.raises(SetupError, match=r"(?s)hadoop-aws.*verger connectors s3a --to.*VERGER_JARS"):
        fetch("s3a", said.append, str(nowhere))
    assert "hadoop-aws" in said[0] and not list((tmp_path / "jars").iterdir())


def retrieved(wanted: Connector, scratch: Path, ivy_settings: str | None) -> subprocess.CompletedProcess[str]:
    """Put four jars where Ivy would."""
    (scratch / "jars").mkdir()
    for number in range(4):
        (scratch / "jars" / f"{number}.jar").write_text(wanted.name)
    return subprocess.CompletedProcess([], 0, "", "")


def test_jars_are_all_there_or_none_however_early_their_fetching_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_copied = 0

    def interrupted(*paths: Any, **more: Any) -> None:
        nonlocal n_copied
        n_copied += 1
        if n_copied == 3:
            raise KeyboardInterrupt
        copyfile(*paths, **more)

    copyfile = shutil.copyfile
    monkeypatch.setenv(connectors.JARS, str(tmp_path))
    monkeypatch.setattr(connectors, "_retrieve", retrieved)
    with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
        patch.setattr(shutil, "copyfile", interrupted)
        obtain(Connector("four", ()), lambda words: None)
    assert len(obtain(Connector("four", ()), lambda words: None)) == 4


def test_jars_that_another_process_has_put_there_meanwhile_are_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = Connector("four", ())

    def outrun(wanted: Connector, scratch: Path, ivy_settings: str | None) -> subprocess.CompletedProcess[str]:
        done = retrieved(wanted, scratch, ivy_settings)
        shutil.copytree(scratch / "jars", wanted.folder)
        return done

    monkeypatch.setenv(connectors.JARS, str(tmp_path))
    monkeypatch.setattr(connectors, "_retrieve", outrun)
    assert len(obtain(wanted, lambda words: None)) == 4
    assert list(tmp_path.iterdir()) == [wanted.folder]


def test_an_unknown_hadoop_names_the_known_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connectors, "_version", lambda pattern: "9.9.9")
    with pytest.raises(SetupError, match=r"9\.9\.9.*3\.4\.2"):
        connector("s3a")
