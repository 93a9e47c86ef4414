"""The chain on Azure Blob Storage, as Azurite has it: photos from it and results to it, on both engines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pipeline.test_s3 import table
from tests.storage.objects.test_objects import dead_lock, take_over_at_once
from tests.support import azurite
from tests.support.chain import manifest_of, store_at, verger
from verger.storage.cache import cache_dir
from verger.storage.objects import ObjectPath, object_path

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not azurite.can_be_had(), reason="Azurite comes by npm, which this machine has not"),
]


@pytest.fixture(scope="module")
def server(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[azurite.Server]:
    with azurite.serving(tmp_path_factory.mktemp("azurite")) as server, store_at("AZURE_", server.environment):
        copy_photos(photos)
        yield server


def copy_photos(photos: Path) -> None:
    for photo in (path for path in photos.rglob("*") if path.is_file()):
        (place("photos") / str(photo.relative_to(photos))).write_bytes(photo.read_bytes())


def place(key: str) -> ObjectPath:
    found = object_path(f"{azurite.ROOT}/{key}")
    assert found is not None
    return found


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize(("engine", "root"), [("local", f"az://{azurite.CONTAINER}"), ("spark", azurite.ROOT)])
def test_from_and_to_the_store_it_is_as_on_disk(
    engine: str, root: str, photos: Path, tiny_model: str, tmp_path: Path
) -> None:
    src, out = f"{root}/photos", f"{root}/results/{engine}"
    copy_photos(photos)
    flags = ("--model", tiny_model, "--components", "2", "--export", "csv")
    words = ("run", src, out, *flags, "--engine", engine)
    manifest = manifest_of(*words, cwd=tmp_path)
    here = manifest_of("run", photos, tmp_path / "out", *flags, cwd=tmp_path)
    assert manifest["counts"] == here["counts"] and manifest["counts"]["rejected"] == 3
    for name in ("features", "rejected", "components"):
        assert table(place(f"results/{engine}/{name}")).equals(table(tmp_path / "out" / name)), name

    again = verger(*words, cwd=tmp_path)
    assert again.returncode == 1 and "--overwrite" in again.stderr
    place("photos/apple/0.JPG").unlink()
    resumed = manifest_of(*words, "--resume", "--prune", cwd=tmp_path)
    assert (resumed["counts"]["computed"], resumed["counts"]["features"]) == (0, 11)
    assert f".{engine}.verger-staging" not in {folder.name for folder in place("results").children()[1]}

    logs = "".join(log.read_text(errors="replace") for log in (cache_dir() / "logs").glob("*.log"))
    assert azurite.KEY not in str(manifest) + again.stdout + again.stderr + logs


@pytest.mark.usefixtures("server")
def test_of_runs_that_take_over_a_dead_lock_at_once_one_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    (winner,) = take_over_at_once(dead_lock(place("locked/out")), monkeypatch)
    winner.check()


@pytest.mark.usefixtures("server")
def test_a_wrong_key_is_refused_in_words(tiny_model: str, tmp_path: Path) -> None:
    wrong = azurite.KEY.replace("Eby8", "XXXX")
    done = verger(
        "run", place("photos"), "out", "--model", tiny_model, cwd=tmp_path, AZURE_STORAGE_ACCOUNT_KEY=wrong
    )
    assert done.returncode == 1 and "access is refused" in done.stderr
    assert "Traceback" not in done.stderr and wrong not in done.stderr, done.stderr
    assert not (tmp_path / "out").exists()
