"""What a run costs: sums that can be checked by hand, and what the ranges must hold."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cloud.pricing.round_prices import PRICES
from verger.cloud.deploy.provider import DeploymentSpec, Shape
from verger.cloud.deploy.targets import PROVIDERS
from verger.cloud.pricing.calibration import load_calibration
from verger.cloud.pricing.comparison import affordable_photos, alternatives, compare, describe_affordable
from verger.cloud.pricing.duration import Workload, hours
from verger.cloud.pricing.estimate import (
    SLOWNESS,
    START_MINUTES,
    Estimate,
    PhotoSet,
    busiest_hour,
    check_budget,
    estimate,
    idle_hour,
)
from verger.cloud.pricing.prices import Range, load_prices
from verger.cloud.pricing.shapes import parse_shape
from verger.errors import CloudError, SettingsError
from verger.sources.packed import SHARD_BYTES

DOCS = Path(__file__).parents[3] / "docs" / "cost.md"
CALIBRATION = load_calibration()
BUNDLED = load_prices()
SMALL = DeploymentSpec("demo", "aws", "eu-west-3", "emr", Shape(2, "big", "big"), idle_minutes=15)
DEMO = DeploymentSpec("demo", "aws", "eu-west-3", "emr", parse_shape("2xm5.xlarge"))


def quantities(estimated: Estimate) -> dict[str, float]:
    return {line.what: line.quantity for line in estimated.lines}


def test_the_likely_hours_are_the_start_and_the_plan_of_a_core_that_is_slower_than_ours() -> None:
    found = estimate(SMALL, PhotoSet(100_000, 4_700), CALIBRATION, PRICES)
    # Eight cores of x86, likely 1.15 times as slow as the calibration's 111 photos a second; 8 minutes to start.
    planned = hours(Workload(100_000, 8, 1.15 * 1000 / 111, 4_700))
    assert found.hours.typical == pytest.approx(8 / 60 + planned)


def test_the_machines_are_paid_from_the_order_to_the_idle_minutes_and_the_standing_after_them() -> None:
    found = estimate(SMALL, PhotoSet(100_000, 4_700), CALIBRATION, PRICES, standing_h=2)
    up = found.hours.typical + 15 / 60 + 2
    assert quantities(found)["workers big"] == pytest.approx(2 * up)


def test_euros_are_the_sum_of_the_lines() -> None:
    found = estimate(SMALL, PhotoSet(100_000, 4_700), CALIBRATION, PRICES)
    assert found.eur.typical == pytest.approx(0.5 * sum(line.usd for line in found.lines))


def test_requests_are_those_of_the_plan() -> None:
    # 100,000 photos: one GET each, and nine a task, of which there are 136 (17 whole rounds of 8 cores).
    found = quantities(estimate(SMALL, PhotoSet(100_000, 4_700), CALIBRATION, PRICES))
    n_tasks = Workload(100_000, 8, 1.0, 4_700).n_tasks
    assert n_tasks == 136
    assert found["GET"] == pytest.approx((100_000 + 9 * 136) / 1000)
    packed = quantities(estimate(SMALL, PhotoSet(100_000, 4_700, is_packed=True), CALIBRATION, PRICES))
    assert packed["GET"] == pytest.approx((4 * 136 + 9 * 136) / 1000)


def test_a_month_of_storage_is_photos_vectors_the_key_and_the_alarms() -> None:
    # 10^6 photos of 5,000 bytes, 5,200 of features (4 x 1,280 and 80) and 406 of components: 10.606 GB at 0.02 USD,
    # a key at 1 USD, an alarm at 0.1; half of it in euros.
    found = estimate(SMALL, PhotoSet(10**6, 5_000), CALIBRATION, PRICES)
    assert found.eur_a_month == pytest.approx(0.5 * (10.606 * 0.02 + 1 + 0.1))


@pytest.mark.parametrize(
    ("provider", "region", "engine"), [("gcp", "europe-west9", "dataproc"), ("databricks", "eu-west-3", "job")]
)
def test_a_key_is_paid_only_where_one_is_made(provider: str, region: str, engine: str) -> None:
    found = estimate(
        DeploymentSpec("demo", provider, region, engine, Shape(2, "big", "big")),
        PhotoSet(1_000_000, 5_000),
        CALIBRATION,
        PRICES,
    )
    assert "requests to the key" not in quantities(found)
    assert found.eur_a_month == pytest.approx(0.5 * 10.606 * 0.02)


def test_bringing_the_photos_there_costs_a_request_each() -> None:
    assert estimate(SMALL, PhotoSet(10**6, 5_000), CALIBRATION, PRICES).eur_once == pytest.approx(
        0.5 * 1000 * 0.005
    )


def test_packed_photos_are_brought_there_a_shard_at_a_time() -> None:
    packed = estimate(SMALL, PhotoSet(10**6, 5_000, is_packed=True), CALIBRATION, PRICES)
    assert packed.eur_once == pytest.approx(0.5 * math.ceil(5e9 / SHARD_BYTES) / 1000 * 0.005)
    assert packed.eur_once < 0.001


def test_the_endpoint_is_paid_for_until_it_is_taken_down_on_every_engine_of_aws() -> None:
    for engine in PROVIDERS["aws"].engines:
        found = estimate(replace(SMALL, engine=engine), PhotoSet(10, 5_000), CALIBRATION, PRICES)
        assert found.eur_a_month_until_down == pytest.approx(0.5 * 730 * 0.01)
    dataproc = DeploymentSpec("demo", "gcp", "europe-west9", "dataproc", SMALL.shape)
    assert estimate(dataproc, PhotoSet(10, 5_000), CALIBRATION, PRICES).eur_a_month_until_down == 0


def test_an_hour_in_which_nothing_runs_costs_what_stands() -> None:
    grown = replace(SMALL, shape=Shape(2, "big", "big", max_workers=8))
    # Three machines at 4.4 USD with EMR's part, their 104 GB, the endpoint.
    assert sum(line.usd for line in idle_hour(grown, PRICES)) == pytest.approx(3 * 4.4 + 3 * 104 * 0.001 + 0.01)


def test_the_dearest_hour_has_all_workers_and_spot_machines_as_dear_as_they_may_be() -> None:
    grown = replace(SMALL, shape=Shape(2, "big", "big", max_workers=8))
    # Nine machines at 4 USD, six of them at 0.75 of it; EMR's part and 104 GB of each; the endpoint.
    machines = 3 * 4 + 6 * 4 * 0.75
    assert sum(line.usd for line in busiest_hour(grown, PRICES)) == pytest.approx(
        machines + 9 * (0.4 + 104 * 0.001) + 0.01
    )


def test_what_costs_nothing_while_nothing_runs_has_a_dearest_hour_too() -> None:
    shape = Shape(2, "big", "big", max_workers=8)
    serverless = replace(SMALL, engine="serverless", shape=shape)
    # A driver and eight workers, of 4 vCPUs at 0.1 USD and 16 GB at 0.01 USD.
    assert sum(line.usd for line in busiest_hour(serverless, PRICES)) == pytest.approx(9 * (0.4 + 0.16) + 0.01)
    batch = DeploymentSpec("demo", "gcp", "europe-west9", "batch", shape)
    # 4 DCU at 0.1 USD each, and 400 GB of disk at a hundredth of a thousandth.
    assert sum(line.usd for line in busiest_hour(batch, PRICES)) == pytest.approx(9 * (0.4 + 400 * 0.00001))


def test_what_has_no_spot_machines_needs_no_price_of_them() -> None:
    none = PRICES.model_copy(update={"spot": {}})
    grown = replace(SMALL, shape=Shape(2, "big", "big", max_workers=8))
    for priced in (lambda: busiest_hour(grown, none), lambda: estimate(grown, PhotoSet(9, 9), CALIBRATION, none)):
        with pytest.raises(CloudError, match="no price for spot machines of aws; there are prices for: none"):
            priced()
    for other in (replace(grown, engine="serverless"), replace(grown, shape=replace(grown.shape, spot=False))):
        assert busiest_hour(other, none)
        assert estimate(other, PhotoSet(9, 9), CALIBRATION, none).eur.low > 0


def test_what_ends_with_its_job_costs_nothing_while_nothing_runs() -> None:
    serverless = replace(SMALL, engine="serverless")
    assert [line.what for line in idle_hour(serverless, PRICES)] == ["endpoint"]
    assert idle_hour(DeploymentSpec("demo", "databricks", "eu-west-3", "job", SMALL.shape), PRICES) == ()


@pytest.mark.parametrize(
    ("engine", "machines"),
    [("serverless", ("m5.xlarge", "m5.2xlarge")), ("batch", ("n2-standard-4", "n2-standard-8"))],
)
def test_a_worker_without_a_machine_has_four_cores_whatever_is_named(
    engine: str, machines: tuple[str, str]
) -> None:
    place = {"serverless": ("aws", "eu-west-3"), "batch": ("gcp", "europe-west9")}[engine]
    made = [DeploymentSpec("demo", *place, engine, Shape(2, machine, machine)) for machine in machines]
    same, twice = (estimate(each, PhotoSet(10**6, 5_000), CALIBRATION, BUNDLED) for each in made)
    assert (same.hours, same.eur) == (twice.hours, twice.eur)


def test_photos_cost_no_less_than_fewer_photos_on_every_engine() -> None:
    for other in alternatives(DEMO, BUNDLED):
        few, many = (estimate(other, PhotoSet(n, 4_700), CALIBRATION, BUNDLED) for n in (10_000, 1_000_000))
        assert few.eur.high < many.eur.low, other
        assert few.eur.low <= few.eur.typical <= few.eur.high
        assert few.hours.low <= few.hours.typical <= few.hours.high


def test_larger_photos_take_longer() -> None:
    small, large = (estimate(DEMO, PhotoSet(10_000, size), CALIBRATION, BUNDLED) for size in (5_000, 3_000_000))
    assert small.hours.typical < large.hours.typical
    # 250,000 bytes are decoded in the time of one inference of 9 ms: 3 MB take twelve times that beside their own.
    assert CALIBRATION.photo_ms(3_004_700) == pytest.approx(1000 / 111 + 12 * 9)


def test_photos_of_phones_are_priced_by_their_pixels_and_how_they_are_decoded() -> None:
    exact = PhotoSet.from_sizes(10_000, CALIBRATION, megapixels=12)
    assert exact.mean_bytes == 12 * 280_000
    hours = [
        estimate(DEMO, photos, CALIBRATION, BUNDLED).hours.typical
        for photos in (PhotoSet(10_000, 5_000), replace(exact, decode="scaled"), exact)
    ]
    assert hours == sorted(hours) and hours[0] < hours[-1]
    # 11.99 megapixels more than in the calibration.
    assert CALIBRATION.photo_ms_by_pixels(12) == pytest.approx(1000 / 111 + 11.99 * 8.6)
    assert PhotoSet.from_sizes(1, CALIBRATION, mean_kb=7, megapixels=12).mean_bytes == 7_000


@pytest.mark.parametrize("n_photos", [22_688, 90_000])
def test_the_first_try_stays_under_ten_euros_with_two_hours_of_standing(n_photos: int) -> None:
    found = estimate(DEMO, PhotoSet(n_photos, 5_000), CALIBRATION, BUNDLED, standing_h=2)
    assert found.eur.high + found.eur_once + found.eur_a_month < 10
    check_budget(found, 10)


def test_over_the_budget_it_says_how_much_it_may_cost_and_what_would_fit() -> None:
    found = estimate(DEMO, PhotoSet(10**8, 5_000), CALIBRATION, BUNDLED)
    with pytest.raises(CloudError, match=r"100,000,000 photos may cost up to .* the limit is 10\.00 EUR; less"):
        check_budget(found, 10, "less")


def test_as_many_photos_as_fit_do_fit_and_a_tenth_more_do_not() -> None:
    def of_count(n_photos: int) -> Estimate:
        return estimate(DEMO, PhotoSet(n_photos, 5_000), CALIBRATION, BUNDLED)

    most = affordable_photos(10, of_count)
    assert of_count(most).eur.high <= 10 < of_count(round(1.1 * most)).eur.high
    assert affordable_photos(0.01, of_count) == 0
    assert f"enough for {most:,} photos" in describe_affordable(10, [], of_count)


def test_every_engine_is_compared_cheapest_first_and_the_one_asked_for_is_among_them() -> None:
    def estimating(other: DeploymentSpec) -> Estimate:
        return estimate(other, PhotoSet(10**6, 5_000), CALIBRATION, BUNDLED)

    found = compare(DEMO, BUNDLED, estimating)
    likely = [each.eur.typical for each in found]
    assert likely == sorted(likely)
    assert {each.deployment.engine for each in found} == {
        engine for cloud in PROVIDERS.values() for engine in cloud.engines
    }
    assert [each.deployment for each in found].count(DEMO) == 1


def test_dataproc_is_not_compared_on_fewer_workers_than_it_has() -> None:
    small, large = (
        list(alternatives(replace(DEMO, shape=parse_shape(text)), BUNDLED))
        for text in ("2xm5.xlarge", "4xm5.xlarge")
    )
    kept = {(each.shape.workers, each.shape.max_workers) for each in small if each.engine == "dataproc"}
    assert kept == {(2, None)}
    kept = {(each.shape.workers, each.shape.max_workers) for each in large if each.engine == "dataproc"}
    assert kept == {(4, None), (2, 4)}


def test_clouds_that_the_table_does_not_know_are_left_out_of_the_comparison() -> None:
    def estimating(other: DeploymentSpec) -> Estimate:
        return estimate(other, PhotoSet(10**6, 5_000), CALIBRATION, aws_alone)

    aws_alone = BUNDLED.model_copy(update={"regions": {"aws": BUNDLED.regions["aws"]}})
    assert {each.deployment.provider for each in compare(DEMO, aws_alone, estimating)} == {"aws"}


def test_there_is_a_price_for_every_engine_machine_and_region_of_the_bundled_table() -> None:
    for provider, regions in BUNDLED.regions.items():
        for region in regions:
            cloud, table = BUNDLED.below(provider, region)
            for machine in table.machine:
                for engine in PROVIDERS[provider].engines:
                    made = DeploymentSpec("demo", provider, region, engine, Shape(2, machine, machine, 4))
                    assert estimate(made, PhotoSet(1_000, 5_000), CALIBRATION, BUNDLED).eur.low > 0, (cloud, made)


@pytest.mark.parametrize(
    ("provider", "engine", "output"),
    [
        ("azure", "emr", "provider = 'azure'"),
        ("aws", "dataproc", r"engine = 'dataproc' .* one of emr, serverless"),
    ],
)
def test_what_no_cloud_has_is_refused(provider: str, engine: str, output: str) -> None:
    with pytest.raises(SettingsError, match=output):
        estimate(replace(DEMO, provider=provider, engine=engine), PhotoSet(1, 1), CALIBRATION, BUNDLED)


@pytest.mark.parametrize("mean_bytes", [math.inf, math.nan, -1, 1e300])
def test_photos_of_a_size_that_none_has_are_refused(mean_bytes: float) -> None:
    with pytest.raises(SettingsError, match=r"mean_kb = .* 0 to 1,000,000 kB per photo"):
        estimate(DEMO, PhotoSet(10, mean_bytes), CALIBRATION, BUNDLED)


def test_a_region_outside_the_union_has_no_price() -> None:
    with pytest.raises(CloudError, match=r"eu-west-2 \(London\) is not in the European Union"):
        estimate(replace(DEMO, region="eu-west-2"), PhotoSet(1, 1), CALIBRATION, BUNDLED)


def test_the_docs_have_the_assumptions_as_they_are_used() -> None:
    output = DOCS.read_text()
    for of in (*SLOWNESS.values(), *START_MINUTES.values()):
        assert f"| {of.low:g} | {of.typical:g} | {of.high:.1f} |".replace(".0 |", " |") in output.replace(
            ".0 |", " |"
        )


def test_a_range_is_from_the_best_case_to_the_worst() -> None:
    grown = replace(DEMO, shape=parse_shape("1..8xm5.xlarge"))
    found = estimate(grown, PhotoSet(10**6, 5_000), CALIBRATION, BUNDLED)
    # Spot prices and work done again spread it further than machines on demand.
    fixed = estimate(replace(DEMO, shape=parse_shape("8xm5.xlarge")), PhotoSet(10**6, 5_000), CALIBRATION, BUNDLED)
    assert spread(found.hours) > spread(fixed.hours)


def spread(of: Range) -> float:
    return of.high / of.low
