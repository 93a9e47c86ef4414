"""Every engine's bill, worked out by hand on round prices."""

from __future__ import annotations

import pytest

from tests.cloud.pricing.round_prices import PRICES
from verger.cloud.deploy.provider import DeploymentSpec, Shape
from verger.cloud.pricing.bill import BILLS, BilledHours
from verger.errors import CloudError

# A quarter of an hour to start, one hour of work, three quarters idle: up for two.
SPENT = BilledHours(start=0.25, run=1.0, idle=0.75, spot=0.5)
ONE_BIG_LEADS_TWO = Shape(2, "big", "small")


def bill(provider: str, region: str, engine: str, shape: Shape, spent: BilledHours = SPENT) -> dict[str, float]:
    spec = DeploymentSpec("demo", provider, region, engine, shape)
    return {line.what: round(line.usd, 6) for line in BILLS[engine](spec, spent, PRICES) if line.quantity}


def test_emr_takes_machines_its_part_of_each_disks_and_the_endpoint_as_long_as_it_is_up() -> None:
    assert bill("aws", "eu-west-3", "emr", ONE_BIG_LEADS_TWO) == {
        "primary small": 2 * 1,
        "workers big": 2 * 2 * 4,
        "EMR for small": round(2 * 0.1, 6),
        "EMR for big": round(4 * 0.4, 6),
        # 40 GB of root and 16 a vCPU: 56 GB for 2 hours, 104 GB for 4, at 0.001 USD a GB and hour.
        "disks": round((56 * 2 + 104 * 4) * 0.001, 6),
        "endpoint": 0.02,
    }


def test_only_added_machines_are_spot_only_while_the_job_runs_and_emr_takes_its_whole_part_of_them() -> None:
    grown = bill("aws", "eu-west-3", "emr", Shape(2, "big", "big", max_workers=5))
    assert grown["workers big"] == 2 * 2 * 4
    assert grown["added, spot big"] == 3 * 1 * 4 * 0.5
    assert grown["EMR for big"] == pytest.approx((2 + 2 * 2 + 3 * 1) * 0.4)


def test_added_machines_on_demand_cost_their_whole_price() -> None:
    grown = bill("aws", "eu-west-3", "emr", Shape(2, "big", "big", max_workers=5, spot=False))
    assert grown["added big"] == 3 * 1 * 4


def test_serverless_takes_vcpus_and_memory_of_driver_and_workers_and_nothing_idle() -> None:
    # Up for 1.25 hours without the idle part: a driver and two workers of 4 vCPUs and 16 GB each.
    found = bill("aws", "eu-west-3", "serverless", ONE_BIG_LEADS_TWO)
    assert found["vCPUs of workers"] == round(12 * 1.25 * 0.1, 6)
    assert found["memory of workers"] == round(48 * 1.25 * 0.01, 6)


def test_serverless_on_arm_has_prices_of_its_own() -> None:
    found = bill("aws", "eu-west-3", "serverless", Shape(1, "arm", "arm"))
    assert found["vCPUs of workers"] == round(8 * 1.25 * 0.08, 6)


def test_dataproc_takes_a_fee_for_every_vcpu() -> None:
    assert bill("gcp", "europe-west9", "dataproc", ONE_BIG_LEADS_TWO) == {
        "primary small": 2,
        "workers big": 16,
        "Dataproc": round((1 * 2 + 4 * 4) * 0.01, 6),
        "disks": round(100 * (2 + 4) * 0.073 / 730, 6),
    }


def test_dataproc_has_two_workers_at_least() -> None:
    one, two = (bill("gcp", "europe-west9", "dataproc", Shape(n, "big", "small")) for n in (1, 2))
    assert one == two
    grown = bill("gcp", "europe-west9", "dataproc", Shape(1, "big", "small", max_workers=3))
    assert (grown["workers big"], grown["added, spot big"]) == (2 * 2 * 4, 1 * 4 * 0.5)


def test_a_batch_has_two_executors_at_least_of_four_vcpus_whatever_machine_is_named() -> None:
    # One is asked for, and a driver: 3 x (4 vCPUs x 0.6 + 16 GB x 0.1) = 12 DCU for 1.25 hours.
    found = bill("gcp", "europe-west9", "batch", Shape(1, "small", "small"))
    assert found["batch"] == round(12 * 1.25 * 0.1, 6)
    assert found["disks"] == round(12 * 100 * 1.25 * 0.0073 / 730, 6)


def test_databricks_takes_its_units_beside_the_machines_of_the_cloud_below() -> None:
    found = bill("databricks", "eu-west-3", "job", ONE_BIG_LEADS_TWO)
    assert found["workers big"] == 2 * 1.25 * 4
    assert found["Databricks"] == round((1.25 * 1 + 2.5 * 2) * 0.2, 6)


@pytest.mark.parametrize("engine", ["emr", "serverless"])
def test_less_than_a_minute_is_billed_as_one(engine: str) -> None:
    a_second = BilledHours(start=0, run=1 / 3600, idle=0, spot=1)
    a_minute = BilledHours(start=0, run=1 / 60, idle=0, spot=1)
    shape = Shape(2, "big", "big")
    found = bill("aws", "eu-west-3", engine, shape, a_second)
    assert found == bill("aws", "eu-west-3", engine, shape, a_minute)


def test_a_machine_without_a_price_is_named_with_those_that_have_one() -> None:
    with pytest.raises(CloudError, match="no price for machine arm; there are prices for: big, small"):
        bill("gcp", "europe-west9", "dataproc", Shape(1, "arm", "arm"))
