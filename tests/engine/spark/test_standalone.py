"""`verger cluster`, and the chain on it: the same result as in one process."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from pyspark.sql import SparkSession
from typer.testing import CliRunner

from tests.support import poison, victims
from tests.support.chain import (
    Done,
    manifest_here,
    manifest_of,
    multiplied,
    start_verger,
    table,
    verger,
    wait_until,
)
from tests.support.events import wait_for_parts
from verger.cli import app
from verger.engine.spark.cluster_options import ASSUMED_CORES, cluster_cores, cluster_settings
from verger.engine.spark.spark_options import SessionOptions, spark_settings
from verger.engine.spark.standalone import daemons, state
from verger.engine.spark.standalone.control import ClusterOptions, down, query_master, status, up
from verger.engine.spark.standalone.daemons import (
    MASTER,
    Daemon,
    daemon_environment,
    master_command,
    start_daemon,
    stop_daemons,
    worker_command,
)
from verger.engine.spark.standalone.state import Cluster
from verger.errors import ClusterError, SettingsError, SetupError
from verger.settings.spark_master import check_master

TABLES = ("features", "rejected", "components")

# Stands for Spark: a master that knows no workers, and workers that end at once, or stay.
FAKE_SPARK = """#!{python}
import http.server, json, pathlib, sys, time
role = sys.argv[1].rpartition(".")[2]
print(role, "says hello", flush=True)
if role == "Worker":
    pathlib.Path(__file__).with_name("came").touch()
    {worker}
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        n = int({n_alive} and pathlib.Path({folder!r}, "came").exists())
        self.send_response(200); self.end_headers()
        report = dict(aliveworkers=n, workers=[dict(state="ALIVE")] * n, cores=n, coresused=0, memory=0)
        self.wfile.write(json.dumps(report | dict(memoryused=0, activeapps=[])).encode())
    def log_message(self, *words): pass
port = int(sys.argv[sys.argv.index("--webui-port") + 1])
http.server.HTTPServer(("127.0.0.1", port), Page).serve_forever()
"""


@pytest.fixture
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VERGER_STATE", str(tmp_path / "state"))
    return tmp_path / "state" / "cluster"


@pytest.fixture
def fake_spark(own_state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    def install(worker: str) -> None:
        program = tmp_path / "fake" / "bin" / "spark-class"
        program.parent.mkdir(parents=True)
        n_alive = worker != "sys.exit(1)"
        text = FAKE_SPARK.format(python=sys.executable, worker=worker, n_alive=n_alive, folder=str(program.parent))
        program.write_text(text)
        program.chmod(0o755)
        monkeypatch.setenv("SPARK_HOME", str(program.parents[1]))

    yield install
    down()


@pytest.fixture
def sleeper() -> Iterator[psutil.Process]:
    """A process that has nothing to do with clusters."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield psutil.Process(child.pid)
    child.kill()
    child.wait()


def remember(own_state: Path, *started: Daemon) -> None:
    own_state.mkdir(parents=True)
    state.write(Cluster("spark://127.0.0.1:7077", "http://127.0.0.1:1", 1, 1, "1g", started))


def processes_of(folder: Path) -> list[Daemon]:
    report = json.loads((folder / "cluster.json").read_text())
    return [Daemon(**process) for process in report["processes"]]


# --- the real one ---


@pytest.fixture
def two_workers(own_state: Path, tmp_path: Path) -> Iterator[str]:
    """A cluster of two workers with a core each, by the command line."""
    started = verger("cluster", "up", "--workers", 2, "--cores", 1, "--memory", "1g", cwd=tmp_path)
    try:
        assert started.returncode == 0, started.stderr
        found = re.search(r"next: verger run photos/ out/ --master (spark://127\.0\.0\.1:\d+)\n", started.stdout)
        assert found, started.stdout
        yield found.group(1)
    finally:
        verger("cluster", "down", cwd=tmp_path)


def same_as_local(out: Path, photos: Path, tiny_model: str, tmp_path: Path) -> None:
    """Compare a result with that of the Spark in this process."""
    words = ("run", photos, "local", "--model", tiny_model, "--components", 2, "--no-report")
    local = manifest_here(*words, cwd=tmp_path)
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["counts"] == local["counts"]
    for name in TABLES:
        assert table(out / name).equals(table(tmp_path / "local" / name)), name


@pytest.mark.slow
@pytest.mark.core
@pytest.mark.usefixtures("spark")
def test_the_chain_on_a_cluster_gives_what_it_gives_in_one_process(
    two_workers: str, own_state: Path, photos: Path, tiny_model: str, tmp_path: Path
) -> None:
    running = processes_of(own_state)
    assert [process.role for process in running] == ["master", "worker", "worker"]
    words = ("--model", tiny_model, "--components", 2, "--no-report", "--master", two_workers)
    manifest_of("run", photos, "out", *words, cwd=tmp_path)
    same_as_local(tmp_path / "out", photos, tiny_model, tmp_path)
    found = status()
    assert found is not None and (found.master, found.cores, len(found.workers)) == (two_workers, 2, 2)
    logs = [log.read_text() for log in (own_state / "work").rglob("stderr")]
    assert len(logs) == 2, "each of the workers had an executor"
    with pytest.raises(ClusterError, match=rf"{two_workers}.*verger cluster down"):
        up(ClusterOptions())
    stopped = verger("cluster", "down", cwd=tmp_path)
    assert stopped.returncode == 0 and two_workers in stopped.stdout
    assert not any(process.is_alive for process in running)


def probe(spark: SparkSession) -> list[tuple[str, str, str]]:
    """Return what each worker process has: its Python, its verger, its threads."""

    def look(rows: object) -> Iterator[tuple[str, str, str]]:
        import verger

        yield sys.executable, str(verger.__file__), os.environ["OMP_NUM_THREADS"]

    n_slots = spark.sparkContext.defaultParallelism
    return spark.sparkContext.parallelize(range(n_slots), n_slots).mapPartitions(look).collect()


PROBE = """
import json, sys
from tests.engine.spark.test_standalone import probe
from verger import open_session, read_images
spark = open_session(sys.argv[1])
n_tasks = read_images(spark, sys.argv[2]).rdd.getNumPartitions()
host = spark.sparkContext.getConf().get("spark.driver.host")
print(json.dumps([probe(spark), n_tasks, host]))
spark.stop()
"""


@pytest.mark.slow
def test_workers_have_the_python_of_the_driver_and_one_thread_each(
    two_workers: str, photos: Path, tmp_path: Path
) -> None:
    import verger as package

    root = str(Path(__file__).parents[3])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    words = [sys.executable, "-c", PROBE, two_workers, str(photos)]
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=True, cwd=tmp_path)
    workers, n_tasks, host = json.loads(done.stdout)
    assert workers == [[sys.executable, package.__file__, "1"]] * 2
    assert n_tasks == 8, "four for each of the cluster's two cores"
    assert host == "127.0.0.1"


@pytest.mark.slow
def test_a_run_that_gets_no_executor_says_what_it_waits_for(
    two_workers: str, photos: Path, tiny_model: str, tmp_path: Path
) -> None:
    conf = ("--conf", "spark.executor.memory=9g")
    run = start_verger("run", photos, "out", "--model", tiny_model, "--master", two_workers, *conf, cwd=tmp_path)
    assert run.stderr is not None
    report = itertools.takewhile(lambda line: "spark.executor.memory" not in line, run.stderr)
    expected = ("engine: spark", "featurize: 0 of")  # a slow machine says how far it is
    assert all(line.startswith(expected) for line in report)
    run.terminate()
    run.communicate(timeout=60)
    assert run.returncode == 130 and list(tmp_path.glob("out*")) == []


@pytest.mark.slow
def test_status_shows_workers_and_a_master_that_died(two_workers: str, own_state: Path, tmp_path: Path) -> None:
    shown = verger("cluster", "status", cwd=tmp_path, COLUMNS="120")
    assert shown.returncode == 0
    assert two_workers in shown.stdout and "workers: 2" in shown.stdout and "cores: 0 of 2" in shown.stdout
    report = json.loads(verger("cluster", "status", "--json", cwd=tmp_path).stdout)
    assert report["is_running"] and report["memory_mb"] == 2048 and report["apps"] == []
    master, *workers = processes_of(own_state)
    stop_daemons(workers[:1])
    wait_until(lambda: (found := status()) is not None and len(found.workers) == 1)
    psutil.Process(master.pid).kill()
    wait_until(lambda: not master.is_alive)
    after = verger("cluster", "status", cwd=tmp_path)
    assert after.returncode == 1 and "has died" in after.stderr and "verger cluster down" in after.stderr
    verger("cluster", "down", cwd=tmp_path)
    assert not any(process.is_alive for process in workers)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [victims.EXECUTOR, victims.WORKER])
@pytest.mark.usefixtures("spark")
def test_a_run_goes_on_without_an_executor_it_loses(
    kind: str, two_workers: str, own_state: Path, photos: Path, tiny_model: str, tmp_path: Path
) -> None:
    many = multiplied(photos, tmp_path / "many", 2000)
    words = ("run", many, "out", "--model", tiny_model, "--components", 2, "--no-report", "--master", two_workers)
    run = start_verger(*words, cwd=tmp_path)
    workers = [process.pid for process in processes_of(own_state) if process.role == "worker"]
    wait_for_parts(tmp_path, run)
    victims.living(kind, run.pid, workers)[0].kill()
    _, report = run.communicate(timeout=300)
    assert run.returncode == 0, report
    same_as_local(tmp_path / "out", many, tiny_model, tmp_path)


@pytest.mark.slow
@pytest.mark.usefixtures("spark")
def test_photos_that_kill_their_decoder_are_rejected_on_a_cluster_too(
    two_workers: str, photos: Path, tiny_model: str, tmp_path: Path
) -> None:
    few = multiplied(photos, tmp_path / "few", 60)
    words = ("--model", tiny_model, "--components", 2, "--no-report")
    healthy = manifest_here("run", few, "healthy", *words, cwd=tmp_path)["counts"]
    good = table(tmp_path / "healthy" / "features")["path"].to_pylist()
    deadly = [Path(path.removeprefix("file:")) for path in good[::15][:3]]
    for photo, sent in zip(deadly, poison.DEADLY, strict=True):
        poison.spoil(photo, sent)
    (tmp_path / "site").mkdir()
    on_cluster = (
        "--master",
        two_workers,
        "--conf",
        f"spark.executorEnv.PYTHONPATH={poison.mortal(tmp_path / 'site')}",
    )
    report = manifest_of("run", few, "out", *words, *on_cluster, cwd=tmp_path)["counts"]
    assert report["rejected_by_reason"]["poison"] == 3
    assert report["features"] == healthy["features"] - 3 and report["rejected"] == healthy["rejected"] + 3


# --- workers with addresses of their own ---

NETWORK = "10.213.77"
BRIDGE = "vgrtest0"
SPACES = ("vgrtest1", "vgrtest2")


def ip(*words: str, check: bool = True) -> Done:
    return subprocess.run(["ip", *words], capture_output=True, text=True, check=check)


def remove_network() -> None:
    for space in SPACES:
        ip("netns", "del", space, check=False)
        ip("link", "del", f"{space}h", check=False)
    ip("link", "del", BRIDGE, check=False)


@pytest.fixture
def namespaces() -> Iterator[dict[str, str]]:
    """Two network namespaces on a bridge of this machine, and their addresses."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("needs root and the program ip, to give workers addresses of their own")
    remove_network()
    try:
        try:
            ip("link", "add", BRIDGE, "type", "bridge")
            ip("netns", "add", SPACES[0])
        except subprocess.CalledProcessError as error:
            pytest.skip(f"this machine allows no network namespaces: {error.stderr.strip()}")
        ip("addr", "add", f"{NETWORK}.1/24", "dev", BRIDGE)
        ip("link", "set", BRIDGE, "up")
        ip("netns", "add", SPACES[1])
        addresses = {space: f"{NETWORK}.{number}" for number, space in enumerate(SPACES, start=2)}
        for space, address in addresses.items():
            ip("link", "add", f"{space}h", "type", "veth", "peer", "name", "eth0", "netns", space)
            ip("link", "set", f"{space}h", "master", BRIDGE, "up")
            ip("-n", space, "addr", "add", f"{address}/24", "dev", "eth0")
            ip("-n", space, "link", "set", "eth0", "up")
            ip("-n", space, "link", "set", "lo", "up")
        yield addresses
    finally:
        remove_network()


def free_port(host: str) -> int:
    with socket.socket() as found:
        found.bind((host, 0))
        return int(found.getsockname()[1])


@pytest.fixture
def far_workers(namespaces: dict[str, str], own_state: Path) -> Iterator[str]:
    """A cluster whose workers have network addresses of their own."""
    own_state.mkdir(parents=True)
    host, started = f"{NETWORK}.1", list[Daemon]()
    port, page_port = free_port(host), free_port(host)
    master, page = f"spark://{host}:{port}", f"http://{host}:{page_port}"

    def start(name: str, command: list[str], address: str) -> None:
        started.append(start_daemon(name, command, daemon_environment(address), own_state / f"{name}.log"))

    try:
        start("master", master_command(host, port, page_port), host)
        wait_until(lambda: query_master(page) is not None)
        for space, address in namespaces.items():
            command = worker_command(master, address, 1, "1g", own_state / "work" / space)
            start(space, ["ip", "netns", "exec", space, *command], address)
        wait_until(lambda: (query_master(page) or {}).get("aliveworkers") == 2)
        yield master
    finally:
        stop_daemons(started)


@pytest.mark.slow
@pytest.mark.usefixtures("spark")
def test_workers_may_have_addresses_of_their_own(
    far_workers: str, own_state: Path, photos: Path, tiny_model: str, tmp_path: Path
) -> None:
    words = ("--model", tiny_model, "--components", 2, "--no-report", "--master", far_workers)
    manifest_of("run", photos, "out", *words, cwd=tmp_path)
    same_as_local(tmp_path / "out", photos, tiny_model, tmp_path)
    logs = [log.read_text() for log in (own_state / "work").rglob("stderr")]
    assert {host for log in logs for host in re.findall(r'"--hostname" "([\d.]+)"', log)} == {
        f"{NETWORK}.2",
        f"{NETWORK}.3",
    }


# --- what can go wrong ---


@pytest.mark.parametrize("command", ["up", "down", "status"])
def test_each_command_helps_with_an_example(command: str) -> None:
    shown = CliRunner().invoke(app, ["cluster", command, "--help"], terminal_width=200)
    assert shown.exit_code == 0
    assert f" verger cluster {command}" in re.sub(r"\x1b\[[0-9;]*m", "", shown.output).split("Usage", 1)[1]


@pytest.mark.usefixtures("own_state")
def test_where_nothing_runs_down_is_content_and_status_is_exit_code_1() -> None:
    stopped = CliRunner().invoke(app, ["cluster", "down"])
    assert (stopped.exit_code, stopped.stdout) == (0, "no cluster is running\n")
    shown = CliRunner().invoke(app, ["cluster", "status"])
    assert (shown.exit_code, shown.stdout) == (1, "no cluster is running\n")
    report = CliRunner().invoke(app, ["cluster", "status", "--json"])
    assert (report.exit_code, json.loads(report.stdout)) == (1, {"is_running": False})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"memory": "lots"}, "memory = 'lots' .*512m"),
        ({"memory": "256m"}, "memory = '256m' .*512m"),
        ({"memory": "1"}, "memory = '1' .*512m"),
        ({"cores": 0}, "cores = 0 .*1 or more"),
        ({"workers": -1}, "workers = -1 .*1 or more"),
        ({"port": 70000}, "port = 70000 .*65535"),
    ],
)
def test_a_bad_size_names_key_value_and_the_valid_ones(given: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        ClusterOptions(**given)  # type: ignore[arg-type]


@pytest.mark.usefixtures("own_state")
@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.77"])
def test_a_host_that_is_no_address_of_this_machine_is_reported(host: str) -> None:
    with pytest.raises(SettingsError, match=f"host = '{host}' .*this machine"):
        up(ClusterOptions(host=host))


@pytest.mark.usefixtures("own_state")
def test_a_port_that_is_taken_is_reported() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=f"port = {port} .*free port"):
            up(ClusterOptions(port=port))


def test_a_process_that_got_the_pid_of_a_daemon_is_not_killed(own_state: Path, sleeper: psutil.Process) -> None:
    reused = Daemon(MASTER, sleeper.pid, sleeper.create_time() - 60, "")
    remember(own_state, reused, replace(reused, role="worker"))
    assert status() is None
    assert down() is None
    assert sleeper.is_running() and sleeper.status() != psutil.STATUS_ZOMBIE
    assert state.read() is None


def test_a_process_of_ours_is_stopped_even_where_it_will_not_go(
    own_state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stubborn = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True)\ntime.sleep(600)"
    )
    log = tmp_path / "log"
    ours = start_daemon(MASTER, [sys.executable, "-c", stubborn], os.environ, log)
    wait_until(lambda: log.read_text() != "")
    remember(own_state, ours)
    monkeypatch.setattr(daemons, "_TERM_S", 0.2)
    assert down() == ("spark://127.0.0.1:7077", [ours])
    assert not ours.is_alive and down() is None


def test_a_start_that_fails_shows_the_log_and_leaves_nothing(
    fake_spark: Callable[..., None], own_state: Path
) -> None:
    fake_spark("sys.exit(1)")
    with pytest.raises(ClusterError, match=r"a worker ended.*worker-1\.log:\nWorker says hello"):
        up(ClusterOptions(workers=1))
    assert state.read() is None and down() is None


def test_a_start_that_is_interrupted_leaves_nothing(fake_spark: Callable[..., None], own_state: Path) -> None:
    fake_spark("time.sleep(600)")
    started = list[Daemon]()

    def interrupt(words: str) -> None:
        if "workers" in words:
            started.extend(processes_of(own_state))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        up(ClusterOptions(workers=2), interrupt)
    assert len(started) == 3 and not any(process.is_alive for process in started)
    assert state.read() is None


def test_a_second_command_waits_for_none(own_state: Path) -> None:
    with state.locked(), pytest.raises(ClusterError, match="another command"):
        down()


# --- masters ---


@pytest.mark.parametrize(
    "master",
    ["local", "local[3]", "local[*]", "local[*, 4]", "spark://h:7077", "spark://a.b:1,c:2", "spark://[::1]:7077"],
)
def test_valid_masters(master: str) -> None:
    assert check_master(master) == master
    assert check_master("yarn") and check_master("k8s://https://10.0.0.1:6443")


@pytest.mark.parametrize(
    "master", ["", "local[0]", "local[x]", "lokal", "spark://h", "mesos://h:5050", "yarn-client"]
)
def test_an_unknown_master_names_the_valid_ones(master: str) -> None:
    with pytest.raises(
        SettingsError, match=r"master = .*local\[N\], spark://HOST:PORT, yarn, k8s://.*sc://HOST:PORT"
    ):
        check_master(master)


def test_a_master_that_does_not_answer_is_reported_before_spark_starts(
    photos: Path, tiny_model: str, tmp_path: Path
) -> None:
    master = f"spark://127.0.0.1:{free_port('127.0.0.1')}"
    done = verger("run", photos, "out", "--model", tiny_model, "--master", master, cwd=tmp_path)
    assert done.returncode == 1 and master in done.stderr and "verger cluster up" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_spark_remote_in_the_environment_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    from verger.engine.spark.jvm import start

    monkeypatch.setenv("SPARK_REMOTE", "sc://h:15002")
    with pytest.raises(SetupError, match=r"SPARK_REMOTE = 'sc://h:15002'.*unset it"):
        start(SessionOptions())


@pytest.mark.parametrize(
    ("given", "n_cores"),
    [
        ({}, ASSUMED_CORES),
        ({"spark.cores.max": "6"}, 6),
        ({"spark.default.parallelism": "9", "spark.cores.max": "6"}, 9),
        ({"spark.executor.instances": "3", "spark.executor.cores": "4"}, 12),
        ({"spark.executor.cores": "4"}, ASSUMED_CORES),
        ({"spark.cores.max": "many"}, ASSUMED_CORES),
    ],
)
@pytest.mark.usefixtures("own_state")
def test_the_rule_for_how_many_cores_a_cluster_has(given: dict[str, str], n_cores: int) -> None:
    assert cluster_cores("spark://far:7077", given) == n_cores


def test_what_yarn_and_kubernetes_lack_is_reported_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HADOOP_CONF_DIR", "YARN_CONF_DIR", "SPARK_CONF_DIR", "SPARK_HOME"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SetupError, match="HADOOP_CONF_DIR"):
        cluster_settings("yarn", {}, [])
    with pytest.raises(SetupError, match=r"image .*spark\.kubernetes\.container\.image="):
        cluster_settings("k8s://https://far:6443", {}, [])


def test_executors_in_containers_have_room_for_the_python_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HADOOP_CONF_DIR", "/etc/hadoop")
    for name in ("SPARK_CONF_DIR", "SPARK_HOME", "SPARK_LOCAL_IP"):
        monkeypatch.delenv(name, raising=False)
    image = ("spark.kubernetes.container.image=verger:1", "spark.executor.cores=4", "spark.executor.instances=2")
    report = spark_settings(SessionOptions("k8s://https://far:6443", conf=image))
    assert report["spark.executor.memoryOverhead"] == "2784m"
    assert report["spark.default.parallelism"] == "8"
    assert report["spark.kubernetes.container.image"] == "verger:1"
    assert not any(key in report for key in ("spark.driver.host", "spark.executor.extraJavaOptions"))
    assert spark_settings(SessionOptions("yarn"))["spark.executor.memoryOverhead"] == "984m"
    given = SessionOptions("yarn", conf=("spark.executor.memoryOverhead=3g",))
    assert spark_settings(given)["spark.executor.memoryOverhead"] == "3g"
    monkeypatch.setenv("SPARK_CONF_DIR", "/etc/spark/conf")
    assert "spark.executor.memoryOverhead" not in spark_settings(SessionOptions("yarn"))


def test_the_cluster_of_this_machine_reports_its_cores(own_state: Path, sleeper: psutil.Process) -> None:
    master = Daemon(MASTER, sleeper.pid, sleeper.create_time(), "")
    remember(own_state, master)
    assert cluster_cores("spark://127.0.0.1:7077", {}) == 1
    assert cluster_cores("spark://127.0.0.1:7078", {}) == ASSUMED_CORES
