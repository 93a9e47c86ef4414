"""The package of a cluster's nodes: made here, installed without a network, run by a real spark-submit."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from zipfile import ZipFile

import pip
import pytest

from tests.cloud.deploy.yarn import serving
from tests.support.chain import Done, table
from verger.cloud.deploy.package import LOCKS, Target, build, read_lock
from verger.cloud.deploy.wheel import own_wheel
from verger.engine.spark.java import use_java
from verger.errors import CloudError, SettingsError
from verger.sample import SampleOptions, render_sample

PYTHON = "{}.{}".format(*sys.version_info)
SPARK35 = Path(__file__).parents[3] / ".venv-spark35" / "bin" / "python"
NOWHERE = "http://127.0.0.1:9"


def pinned(lock: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", lock, re.MULTILINE))


# --- what needs no network ---


@pytest.mark.parametrize("pair", [("python", "3.9"), ("arch", "arm64"), ("spark", "3.3"), ("glibc", "musl")])
def test_nodes_that_verger_does_not_run_on_are_refused_in_words(pair: tuple[str, str]) -> None:
    key, value = pair
    with pytest.raises(SettingsError, match=rf"{key} = '{value}' is not valid: expected"):
        Target(**{key: value})


@pytest.mark.parametrize("spark", LOCKS)
def test_the_lock_of_a_node_leaves_spark_to_it_and_brings_pip(spark: str) -> None:
    lock = read_lock(spark)
    found = pinned(lock)
    assert not found.keys() & {"pyspark", "py4j"} and "pip" in found
    assert lock.count("--hash=sha256:") >= len(found) and "://" not in lock
    if spark == "3.5":
        assert found["numpy"].startswith("1.") and int(found["pyarrow"].split(".")[0]) < 20


def test_the_wheel_is_whole_and_the_same_whenever_it_is_made() -> None:
    name, data = own_wheel()
    assert name.startswith("verger-") and name.endswith("-py3-none-any.whl")
    assert own_wheel() == (name, data)
    with ZipFile(io.BytesIO(data)) as wheel:
        record = next(file for file in wheel.namelist() if file.endswith(".dist-info/RECORD"))
        lines = list(csv.reader(io.StringIO(wheel.read(record).decode())))
        assert {line[0] for line in lines} == set(wheel.namelist())
        for file, digest, size in lines:
            if file != record:
                found = wheel.read(file)
                expected = urlsafe_b64encode(hashlib.sha256(found).digest()).rstrip(b"=").decode()
                assert (digest, size) == (f"sha256={expected}", str(len(found))), file
        assert any(file.startswith("verger/models/fruitnet") for file in wheel.namelist())
        assert not any(file.startswith(("verger/infra", "verger/cloud/deploy/locks")) for file in wheel.namelist())


def test_the_scripts_are_sound() -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("needs shellcheck")
    scripts = sorted((Path(__file__).parents[3] / "src/verger/cloud/deploy/node").glob("*.sh"))
    done = subprocess.run(["shellcheck", *scripts], capture_output=True, text=True, check=False)
    assert scripts and done.returncode == 0, done.stdout


# --- the package, and a node of it ---


@dataclass(frozen=True)
class Node:
    """A Spark as nodes have it, the Python that bootstrap.sh made, and a master with two workers."""

    package: Path
    python: Path
    spark_home: Path
    master: str

    def submit(self, *words: object, cwd: Path, conf: Mapping[str, object] | None = None, **more: object) -> Done:
        """Run main.py to its end; `more`: of the environment."""
        settings = {"spark.pyspark.python": self.python, "spark.cores.max": 2} | dict(conf or {})
        flags = [word for key, value in settings.items() for word in ("--conf", f"{key}={value}")]
        master = ("--master", self.master) * ("spark.master" not in settings)
        environment = {"JAVA_HOME": use_java().home, "SPARK_HOME": self.spark_home} | more
        command = [self.spark_home / "bin" / "spark-submit", *master, *flags, self.package / "main.py", *words]
        return run(*command, cwd=cwd, env=bare(cwd) | {key: str(value) for key, value in environment.items()})


def run(*words: object, cwd: Path, env: dict[str, str]) -> Done:
    command = list(map(str, words))
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False, timeout=500)


def bare(home: Path) -> dict[str, str]:
    """An environment that knows the system's Python, and nothing of the one that the tests run in."""
    return {"PATH": f"{sys.base_prefix}/bin:/usr/bin:/bin", "HOME": str(home), "PIP_INDEX_URL": NOWHERE}


def without_network() -> list[str]:
    """What takes the network away from a command, where the tests may do that; pip has no index anyway."""
    if shutil.which("unshare") is None:
        return []
    words = ["unshare", "--net"]
    tried = subprocess.run([*words, "true"], capture_output=True, check=False)
    return words if tried.returncode == 0 else []


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(("4.1", Path(sys.executable)), id="the locked Spark"),
        pytest.param(("3.5", SPARK35), id="Spark 3.5", marks=pytest.mark.slow),
    ],
)
def spark_there(request: pytest.FixtureRequest) -> tuple[str, Path]:
    """The Spark of the nodes, and a Python that has it."""
    spark, python = request.param
    if not python.exists():
        pytest.skip("needs the environment of make test-spark35")
    return spark, python


@pytest.fixture(scope="module")
def package(spark_there: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("package")
    build(folder, Target(PYTHON, platform.machine(), spark_there[0]), lambda words: None)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def node(package: Path, spark_there: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    place = tmp_path_factory.mktemp("node")
    environment = bare(place) | {"VERGER_VENV": str(place / "verger")}
    for said in ("installing", "has this package already"):
        done = run(*without_network(), "bash", package / "bootstrap.sh", package, cwd=place, env=environment)
        assert done.returncode == 0 and said in done.stdout, done.stdout + done.stderr
    command = [str(spark_there[1]), "-c", "import pyspark; print(pyspark.__path__[0])"]
    spark_home = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    own = os.environ | {"VERGER_STATE": str(place / "state")}
    cluster = (spark_there[1], "-P", "-m", "verger", "cluster")
    up = run(*cluster, "up", "--workers", 2, "--cores", 1, "--memory", "1g", cwd=place, env=own)
    try:
        master = re.search(r"--master (spark://\S+)", up.stdout)
        assert master, up.stdout + up.stderr
        yield Node(package, place / "verger" / "bin" / "python", Path(spark_home), master.group(1))
    finally:
        run(*cluster, "down", cwd=place, env=own)
        shutil.rmtree(place)


@pytest.mark.cloud
def test_a_second_build_fetches_nothing_and_a_broken_wheel_is_fetched_again(
    package: Path, spark_there: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    target = Target(PYTHON, platform.machine(), spark_there[0])
    manifest = json.loads((package / "package.json").read_text())
    files = {path.relative_to(package).as_posix() for path in package.rglob("*") if path.is_file()}
    assert files == manifest["files"].keys() | {"package.json"}
    for name, digest in manifest["files"].items():
        assert hashlib.sha256((package / name).read_bytes()).hexdigest() == digest, name
    said: list[str] = []
    with monkeypatch.context() as patch:
        patch.setenv("PIP_INDEX_URL", NOWHERE)
        patch.setenv("PIP_NO_INDEX", "1")
        build(package, target, said.append)
    assert "already complete" in said[0] and json.loads((package / "package.json").read_text()) == manifest
    wheel = next((package / "wheels").glob("typer-*.whl"))
    wheel.write_bytes(b"half of it")
    build(package, target, said.append)
    assert json.loads((package / "package.json").read_text()) == manifest and wheel.stat().st_size > 10_000


@pytest.mark.cloud
@pytest.mark.timeout(1200)  # the node is made in it
def test_spark_submit_runs_the_chain_with_what_the_node_was_given(node: Node, tmp_path: Path) -> None:
    render_sample(tmp_path / "photos", SampleOptions(per_kind=1))
    done = node.submit("run", "photos", "out", "--limit", 3, "--no-report", cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["counts"]["features"] == 3 and manifest["counts"]["rejected"] == 0
    assert manifest["network"]["weights_from"] == "bundled"
    assert manifest["settings"]["master"] == node.master
    features = table(tmp_path / "out" / "features")
    assert {len(vector) for vector in features["features"].to_pylist()} == {1280}
    locked = pinned((node.package / "requirements.txt").read_text())
    assert manifest["versions"].items() >= {name: locked[name] for name in ("numpy", "pyarrow", "keras")}.items()


@pytest.mark.cloud
@pytest.mark.slow
def test_the_exit_code_of_spark_submit_is_vergers(node: Node, tmp_path: Path) -> None:
    done = node.submit("run", "nowhere", "out", cwd=tmp_path)
    assert done.returncode == 1
    assert "error: nowhere: no such folder" in done.stdout, "spark-submit sends Python's stderr there"
    assert "Successfully stopped SparkContext" in done.stderr


@pytest.mark.cloud
@pytest.mark.skipif(platform.machine() != "x86_64", reason="fetches for another processor than this one")
def test_what_has_no_wheel_for_a_processor_is_named(tmp_path: Path) -> None:
    with pytest.raises(CloudError, match=r"openvino==\S+ has no wheel for .*aarch64, glibc 2.34"):
        build(tmp_path, Target(arch="aarch64"), lambda words: None)


@pytest.fixture(scope="module")
def yarn() -> Iterator[Path]:
    with serving() as conf:
        yield conf


@pytest.mark.cloud
@pytest.mark.slow
@pytest.mark.timeout(1800)  # the node and YARN are made in it
def test_yarn_runs_it_by_executors_that_come_and_go(
    node: Node, yarn: Path, spark_there: tuple[str, Path], tmp_path: Path
) -> None:
    mode = "client" if spark_there[0] == "3.5" else "cluster"  # the first is EMR 7's; each takes minutes
    render_sample(tmp_path / "photos", SampleOptions(per_kind=1))
    home, java = node.spark_home, use_java().home
    conf = {
        "spark.master": "yarn",
        "spark.submit.deployMode": mode,
        "spark.yarn.maxAppAttempts": 1,
        "spark.yarn.jars": f"local:{home}/jars/*",
        "spark.dynamicAllocation.enabled": "true",
        "spark.dynamicAllocation.shuffleTracking.enabled": "true",
        "spark.dynamicAllocation.maxExecutors": 2,
        "spark.executor.memory": "1500m",
    }
    for side in ("spark.yarn.appMasterEnv", "spark.executorEnv"):
        conf |= {f"{side}.JAVA_HOME": java, f"{side}.SPARK_HOME": home}
    words = ("features", tmp_path / "photos", tmp_path / "out", "--limit", 3)
    done = node.submit(*words, cwd=tmp_path, conf=conf, HADOOP_CONF_DIR=yarn)
    assert done.returncode == 0, done.stderr[-3000:]
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["counts"]["features"] == 3 and manifest["settings"]["master"] == "yarn"
    nowhere = ("features", tmp_path / "nowhere", tmp_path / "other")
    assert node.submit(*nowhere, cwd=tmp_path, conf=conf, HADOOP_CONF_DIR=yarn).returncode == 1


# --- install.sh alone, with as little as it takes ---


@pytest.fixture
def small_package(tmp_path: Path) -> Path:
    """A package that holds two things, one of which the platform has."""
    folder = tmp_path / "package"
    (folder / "wheels").mkdir(parents=True)
    shutil.copy(Path(__file__).parents[3] / "src/verger/cloud/deploy/node/install.sh", folder)
    name, wheel = own_wheel()
    (folder / "wheels" / name).write_bytes(wheel)
    digest = hashlib.sha256(wheel).hexdigest()
    own = f"verger=={version('verger')} --hash=sha256:{digest}\n"
    (folder / "requirements.txt").write_text(f"numpy==9 \\\n    --hash=sha256:{digest}\n{own}")
    (folder / "package.json").write_text(json.dumps({"python": PYTHON, "arch": platform.machine()}))
    shutil.make_archive(str(tmp_path / "pip"), "zip", Path(str(pip.__file__)).parents[1], "pip")
    shutil.move(tmp_path / "pip.zip", folder / "wheels" / "pip-0-py3-none-any.whl")
    return folder


def test_a_platforms_own_python_keeps_what_its_spark_is_built_with(small_package: Path, tmp_path: Path) -> None:
    place = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
    install = ("bash", small_package / "install.sh")
    done = run(*install, place / "bin" / "python", cwd=tmp_path, env=bare(tmp_path))
    assert done.returncode == 0 and "installing 1 packages" in done.stdout, done.stdout + done.stderr
    assert next(place.rglob("verger/models/fruitnet*"))


def test_a_package_for_another_python_is_refused(small_package: Path, tmp_path: Path) -> None:
    (small_package / "package.json").write_text(json.dumps({"python": "3.9", "arch": platform.machine()}))
    install = ("bash", small_package / "install.sh")
    done = run(*install, sys.executable, tmp_path / "verger", cwd=tmp_path, env=bare(tmp_path))
    assert done.returncode == 1 and f"for python 3.9, and this node has {PYTHON}" in done.stderr
    assert not (tmp_path / "verger").exists()
