"""The chain against an S3 server that checks signatures: right credentials, wrong ones, and those of a profile."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pipeline.test_s3 import table
from tests.support import s3proxy
from tests.support.chain import Done, manifest_of, store_at, verger
from verger.storage.cache import cache_dir
from verger.storage.objects import ObjectPath, object_path
from verger.storage.objects.stores import store_of

pytestmark = pytest.mark.slow

WRONG = "a-wrong-secret-never-shown"
S3 = f"s3a://{s3proxy.BUCKET}"


@pytest.fixture(scope="module", autouse=True)
def server(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[s3proxy.Server]:
    with s3proxy.serving(tmp_path_factory.mktemp("s3proxy")) as server, store_at("AWS_", server.environment):
        shutil.copytree(photos, server.folder / "photos")
        yield server


def result(out: str) -> ObjectPath:
    found = object_path(out)
    assert found is not None
    return found


def assert_refused(done: Done, where: str) -> None:
    """It names the refused credentials, fails, and shows no secret."""
    assert done.returncode == 1
    assert "access is refused" in done.stderr and where in done.stderr, done.stderr
    assert "Traceback" not in done.stderr and len(done.stderr) < 1500
    assert_no_secret(done)


def assert_no_secret(done: Done) -> None:
    logs = "".join(log.read_text(errors="replace") for log in (cache_dir() / "logs").glob("*.log"))
    for secret in (WRONG, s3proxy.SECRET):
        assert secret not in done.stdout + done.stderr + logs


@pytest.mark.parametrize("engine", ["local", "spark"])
def test_from_and_to_the_store_it_is_as_on_disk(engine: str, photos: Path, tiny_model: str, tmp_path: Path) -> None:
    flags = ("--model", tiny_model, "--components", "2", "--export", "csv", "--single-file")
    out = f"{S3}/results/{engine}"
    manifest = manifest_of("run", f"{S3}/photos", out, *flags, "--engine", engine, cwd=tmp_path)
    here = manifest_of("run", photos, tmp_path / "out", *flags, cwd=tmp_path)
    assert manifest["counts"] == here["counts"] and manifest["counts"]["rejected"] == 3
    for name in ("features", "rejected", "components"):
        assert table(result(out) / name).equals(table(tmp_path / "out" / name)), name


def test_a_wrong_secret_for_the_photos(tiny_model: str, tmp_path: Path) -> None:
    done = verger(
        "run", f"{S3}/photos", tmp_path / "out", "--model", tiny_model, cwd=tmp_path, AWS_SECRET_ACCESS_KEY=WRONG
    )
    assert_refused(done, f"{S3}/photos")
    assert not (tmp_path / "out").exists()


def test_a_wrong_secret_for_the_result(photos: Path, tiny_model: str, tmp_path: Path) -> None:
    done = verger("run", photos, f"{S3}/refused", "--model", tiny_model, cwd=tmp_path, AWS_SECRET_ACCESS_KEY=WRONG)
    assert_refused(done, f"{S3}/")
    assert not result(f"{S3}/refused").exists()


@pytest.mark.parametrize("are_here", ["photos", "result"])
def test_a_wrong_secret_for_sparks_executors_alone(
    are_here: str, photos: Path, tiny_model: str, tmp_path: Path
) -> None:
    wrong = ("--engine", "spark", "--conf", f"spark.executorEnv.AWS_SECRET_ACCESS_KEY={WRONG}")
    src, out = (photos, f"{S3}/refused") if are_here == "photos" else (f"{S3}/photos", tmp_path / "out")
    done = verger("features", src, out, "--model", tiny_model, *wrong, cwd=tmp_path)
    assert_refused(done, f"{S3}/")
    assert not (tmp_path / "out").exists() and not result(f"{S3}/refused").exists()


def test_a_profile_does_for_driver_and_workers(
    tiny_model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".aws").mkdir()
    words = f"aws_access_key_id = {s3proxy.KEY_ID}\naws_secret_access_key = "
    (tmp_path / ".aws" / "credentials").write_text(
        f"[default]\n{words}{WRONG}\n[orchard]\n{words}{s3proxy.SECRET}\n"
    )
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    out = f"{S3}/profile"
    for engine in ("local", "spark"):
        flags = ("--model", tiny_model, "--overwrite", "--engine", engine)
        manifest = manifest_of("run", f"{S3}/photos", out, *flags, cwd=tmp_path, AWS_PROFILE="orchard")
        assert manifest["counts"]["features"] == 12
    done = verger("run", f"{S3}/photos", out, "--model", tiny_model, "--overwrite", cwd=tmp_path)
    assert_refused(done, S3)

    monkeypatch.setenv("AWS_PROFILE", "orchard")
    store_of.cache_clear()
    assert (result(out) / "manifest.json").is_file()
    result(out).remove_tree()
    assert not result(out).exists()
