"""The settings added to those of a spark-submit; tests/cloud/deploy/test_package.py runs real submissions."""

from __future__ import annotations

import os

import pytest

from verger.engine.spark.cluster_options import ASSUMED_CORES, cluster_cores
from verger.engine.spark.submitted import set_driver_environment, submitted_settings

DYNAMIC = {"spark.dynamicAllocation.enabled": "true", "spark.executor.cores": "4"}


@pytest.mark.parametrize(
    ("given", "cores"),
    [
        # No executor may have come yet, so Spark itself would say 2.
        (DYNAMIC | {"spark.dynamicAllocation.maxExecutors": "8"}, 32),
        (DYNAMIC | {"spark.dynamicAllocation.maxExecutors": "8", "spark.executor.instances": "2"}, 32),
        # Dataproc's way to say that there is no limit.
        (DYNAMIC | {"spark.dynamicAllocation.maxExecutors": "10000", "spark.executor.instances": "3"}, 12),
        (DYNAMIC, ASSUMED_CORES),
        ({"spark.executor.instances": "3", "spark.executor.cores": "4"}, 12),
        (DYNAMIC | {"spark.default.parallelism": "5"}, 5),
    ],
)
def test_photos_are_partitioned_for_the_maximum_of_executors(given: dict[str, str], cores: int) -> None:
    assert cluster_cores("yarn", given) == cores
    if "spark.default.parallelism" not in given:
        asked = submitted_settings(given | {"spark.master": "yarn"})
        assert asked["spark.default.parallelism"] == str(cores)


def test_what_was_submitted_stays() -> None:
    given = {
        "spark.master": "yarn",
        "spark.executorEnv.OMP_NUM_THREADS": "4",
        "spark.executor.memoryOverhead": "1g",
    }
    assert not submitted_settings(given | {"spark.default.parallelism": "7"}).keys() & {
        "spark.executorEnv.OMP_NUM_THREADS",
        "spark.default.parallelism",
        "spark.executor.memory",
        "spark.executor.memoryOverhead",
    }
    assert "spark.default.parallelism" not in submitted_settings({"spark.master": "local[2]"})


def megabytes(settings: dict[str, str]) -> tuple[int, int]:
    sizes = (settings["spark.executor.memory"], settings["spark.executor.memoryOverhead"])
    heap, overhead = (int(size.removesuffix("m")) for size in sizes)
    return heap, overhead


@pytest.mark.parametrize(
    ("memory", "factor", "container"),
    [("9486M", "0.1875", 9486 + 1778), ("5586m", "0.1", 5586 + 558), ("6g", "", 6758)],
)
def test_a_container_keeps_its_size_and_leaves_room_for_python(memory: str, factor: str, container: int) -> None:
    given = {"spark.master": "yarn", "spark.executor.memory": memory, "spark.executor.cores": "4"}
    given |= {"spark.executor.memoryOverheadFactor": factor} if factor else {}
    heap, overhead = megabytes(submitted_settings(given))
    assert heap + overhead == container and overhead >= 4 * 600


def test_a_heap_is_not_taken_away_whole() -> None:
    heap, overhead = megabytes(submitted_settings({"spark.master": "yarn", "spark.executor.cores": "4"}))
    assert heap == 1024 and overhead >= 4 * 600


def test_a_container_with_room_enough_is_left_as_it_is() -> None:
    given = {"spark.master": "yarn", "spark.executor.memory": "20g", "spark.executor.memoryOverheadFactor": "0.4"}
    assert "spark.executor.memory" not in submitted_settings(given)


def test_the_driver_knows_the_region_that_its_executors_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "")
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.setenv("AWS_PROFILE", "mine")
    set_driver_environment(
        {f"spark.executorEnv.{key}": "eu-west-3" for key in ("AWS_REGION", "AWS_PROFILE", "PATH")}
    )
    assert os.environ["AWS_REGION"] == "eu-west-3"
    assert os.environ["AWS_PROFILE"] == "mine" and os.environ["PATH"] != "eu-west-3"
