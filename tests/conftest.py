"""What the tests share: worker processes, one Spark a session, the real photos and weights, a tiny network."""

from __future__ import annotations

import os
import shutil
import signal
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pyspark.sql import SparkSession

from tests.support.networks import save_tiny_onnx
from verger.engine.local.local_options import LocalOptions
from verger.engine.local.pool import keep_workers
from verger.engine.spark.session import open_session
from verger.storage.cache import cache_dir

# A test run in the background (`nohup make test &`) ignores these signals, and what it starts would inherit that. A
# handler of Python's is not inherited: children have the system's defaults, as under a shell.
for _number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, lambda *_: None)

# What commands print is wrapped at the width of the terminal; Rich reads it when the command line is imported.
os.environ["COLUMNS"] = "200"

SHARED = Path(__file__).parents[2] / "shared"
WEIGHTS = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"


@pytest.fixture(scope="session", autouse=True)
def _own_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the tests out of the user's caches and settings."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("VERGER_")]:
            patch.delenv(name)
        # Converted networks survive between runs of the tests; nothing else is shared.
        patch.setenv("VERGER_CACHE", str(_cache(Path(__file__).parents[1] / ".cache" / "tests")))
        patch.setenv("KERAS_HOME", str(_keras_home(tmp_path_factory.mktemp("keras"))))
        yield


def _cache(folder: Path) -> Path:
    """Lend the tests what `verger warm-up` left at set-up: dozens of them start a Spark of their own."""
    folder.mkdir(parents=True, exist_ok=True)
    for archive in cache_dir().glob("spark-classes-*.jsa"):
        link = folder / f"{archive.name}.{os.getpid()}"  # pytest's processes come here at the same time
        link.unlink(missing_ok=True)
        link.symlink_to(archive)
        link.replace(folder / archive.name)
    return folder


def _keras_home(folder: Path) -> Path:
    source = SHARED / "models" / "keras" / "models" / WEIGHTS
    (folder / "models").mkdir()
    if source.is_file():
        shutil.copy(source, folder / "models")
    return folder


@pytest.fixture(scope="session", autouse=True)
def _workers(_own_folders: None) -> Iterator[None]:
    """Share the local engine's workers between the runs in this process; they start with the first."""
    with keep_workers(LocalOptions(n_workers=2)):
        yield


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    """One Spark for all tests that do not start their own."""
    session = open_session("local[2]", conf=("spark.sql.shuffle.partitions=2", "spark.ui.enabled=false"))
    session.sparkContext.setLogLevel("ERROR")
    yield session
    session.stop()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The real photos, weights and reference vectors."""
    if not (SHARED / "data" / "sample").is_dir():
        pytest.skip(f"needs the real photos in {SHARED}")
    return SHARED


@pytest.fixture(scope="session")
def fruits360_test(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The 4,120 photos of Fruits-360's test split, unpacked."""
    folder = tmp_path_factory.mktemp("fruits360")
    with tarfile.open(shared / "data" / "fruits360-test.tar") as archive:
        archive.extractall(folder, filter="data")
    return folder / "fruits360" / "Test"


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A network of four features on 8 x 8 pixels, for speed."""
    path = tmp_path_factory.mktemp("tiny") / "tiny.onnx"
    save_tiny_onnx(path)
    return str(path)


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve small photos in three folders, and four files that are none."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for number, fruit in enumerate(["apple", "kiwi", "pear"]):
        (folder / fruit).mkdir()
        for i in range(4):
            pixels = rng.integers(0, 80, (20, 30, 3), np.uint8) + np.uint8(60 * number)
            Image.fromarray(pixels).save(folder / fruit / f"{i}.{'JPG' if i == 0 else 'png'}")
    (folder / "pear" / "empty.jpg").touch()
    (folder / "pear" / "words.jpeg").write_text("not a photo")
    (folder / "kiwi" / "half.png").write_bytes((folder / "kiwi" / "1.png").read_bytes()[:300])
    (folder / "kiwi" / "notes.txt").write_text("not even called a photo")
    return folder
