"""The chain on Azure Blob Storage, as Azurite has it: photos from it, results to it, by Spark's own connector."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import azurite
from tests.chain import manifest_of, store_at, verger
from tests.test_s3 import table
from verger.objects import ObjectPath, object_path
from verger.places import cache_dir

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not azurite.can_be_had(), reason="Azurite comes by npm, which this machine has not"),
]


@pytest.fixture(scope="module")
def server(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[azurite.Server]:
    with azurite.serving(tmp_path_factory.mktemp("azurite")) as server, store_at("AZURE_", server.environment):
        for photo in (path for path in photos.rglob("*") if path.is_file()):
            (place("photos") / str(photo.relative_to(photos))).write_bytes(photo.read_bytes())
        yield server


def place(key: str) -> ObjectPath:
    found = object_path(f"{azurite.ROOT}/{key}")
    assert found is not None
    return found


def test_from_and_to_the_store_it_is_as_on_disk(
    server: azurite.Server, photos: Path, tiny_model: str, tmp_path: Path
) -> None:
    flags = ("--model", tiny_model, "--components", "2", "--export", "csv")
    words = ("run", place("photos"), place("results/out"), *flags, *server.conf)
    told = manifest_of(*words, cwd=tmp_path)
    here = manifest_of("run", photos, tmp_path / "out", *flags, cwd=tmp_path)
    assert told["counts"] == here["counts"] and told["counts"]["rejected"] == 3
    for name in ("features", "rejected", "components"):
        assert table(place(f"results/out/{name}")).equals(table(tmp_path / "out" / name)), name

    again = verger(*words, cwd=tmp_path)
    assert again.returncode == 1 and "--overwrite" in again.stderr
    place("photos/apple/0.JPG").unlink()
    resumed = manifest_of(*words, "--resume", "--prune", cwd=tmp_path)
    assert (resumed["counts"]["computed"], resumed["counts"]["features"]) == (0, 11)
    assert [folder.name for folder in place("results").children()[1]] == ["out"], "nothing is left beside it"

    logs = "".join(log.read_text(errors="replace") for log in (cache_dir() / "logs").glob("*.log"))
    assert azurite.KEY not in str(told) + again.stdout + again.stderr + logs


def test_a_wrong_key_is_refused_in_words(server: azurite.Server, tiny_model: str, tmp_path: Path) -> None:
    wrong = azurite.KEY.replace("Eby8", "XXXX")
    done = verger(
        "run", place("photos"), "out", "--model", tiny_model, cwd=tmp_path, AZURE_STORAGE_ACCOUNT_KEY=wrong
    )
    assert done.returncode == 1 and "access is refused" in done.stderr
    assert "Traceback" not in done.stderr and wrong not in done.stderr, done.stderr
    assert not (tmp_path / "out").exists()
