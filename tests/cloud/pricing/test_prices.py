"""The table of prices: each has a source, and a table of one's own is read or refused with words."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.cloud.pricing.round_prices import TABLE
from verger.cli import app
from verger.cloud.pricing.aws_price_list import update_prices
from verger.cloud.pricing.prices import BUNDLED, RATES, Price, Region, load_prices
from verger.errors import CloudError, SettingsError

PRICES = load_prices()
TODAY = date(2027, 2, 1)
MACHINE = {"operatingSystem": "Linux", "tenancy": "Shared", "preInstalledSw": "NA", "capacitystatus": "Used"}


def test_a_price_that_claims_to_be_read_somewhere_says_where() -> None:
    for place, what, price in PRICES.all_prices():
        source = PRICES.sources[price.source]
        assert source.page, (place, what)
        assert source.note or source.sure != "derived", f"{price.source}: derived, of what?"


def test_derived_prices_are_what_their_source_says() -> None:
    for region in PRICES.regions["aws"].values():
        for arm, x86 in (("vcpu-aarch64", "vcpu-x86_64"), ("gb-aarch64", "gb-x86_64")):
            of_x86 = region.rate[f"serverless-{x86}"].usd
            assert region.rate[f"serverless-{arm}"].usd == pytest.approx(0.8 * of_x86)
        for machine, part in region.emr.items():
            assert part.usd == pytest.approx(region.machine[machine].usd / 4, rel=0.002)


@pytest.mark.parametrize(("small", "large"), [("m7g.xlarge", "m7g.2xlarge")])
def test_a_machine_twice_as_large_costs_twice_as_much(small: str, large: str) -> None:
    for region in PRICES.regions["aws"].values():
        assert region.machine[large].usd == pytest.approx(2 * region.machine[small].usd, rel=0.001)


def test_a_table_of_ones_own_may_be_json(tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text(PRICES.model_dump_json())
    assert load_prices(tmp_path / "mine.json") == PRICES


@pytest.mark.parametrize(
    ("before", "after", "output"),
    [
        ("usd = 0.1904", "usd = -1", r"mine.toml: regions.aws.eu-west-3.machine.m7g.xlarge.usd = -1"),
        ('usd = 0.1904, source = "aws-catalogue"', 'usd = 0.1904, source = "hearsay"', "source = 'hearsay'"),
        ('"endpoint-hour"', '"endpoint-minute"', "rate = 'endpoint-minute'"),
        ("eur_per_usd = 0.86", "eur_per_usd = 0", r"mine.toml: eur_per_usd = 0"),
        ("read = 2026-11-22", "", "mine.toml: read"),
        ("[machines]", "[machines", "a table of prices in TOML or JSON"),
    ],
)
def test_a_table_that_is_wrong_names_key_and_value(tmp_path: Path, before: str, after: str, output: str) -> None:
    text = BUNDLED.read_text()
    assert before in text
    (tmp_path / "mine.toml").write_text(text.replace(before, after))
    with pytest.raises(SettingsError, match=output):
        load_prices(tmp_path / "mine.toml")


def test_a_place_without_prices_is_told_with_those_that_have_some() -> None:
    with pytest.raises(
        CloudError, match=r"region of aws eu-north-1; .* eu-central-1, eu-west-1, eu-west-3. .*--prices FILE"
    ):
        PRICES.region("aws", "eu-north-1")
    with pytest.raises(CloudError, match="region of databricks westeurope"):
        PRICES.below("databricks", "westeurope")


def test_a_table_knows_its_age() -> None:
    assert load_prices().age_days(date(2027, 11, 22)) == 365


def test_amazons_own_list_takes_the_place_of_what_we_knew(tmp_path: Path) -> None:
    ec2, emr = tmp_path / "ec2.json", tmp_path / "emr.json"
    ec2.write_text(
        _offer(
            "AmazonEC2",
            (MACHINE | {"instanceType": "m7g.xlarge", "usagetype": "EUW3-BoxUsage:m7g.xlarge"}, "Hrs", ["0.2"]),
            # The same machine with Windows, unused but reserved, and of another region.
            (MACHINE | {"instanceType": "m7g.xlarge", "operatingSystem": "Windows"}, "Hrs", ["0.9"]),
            (MACHINE | {"instanceType": "m7g.xlarge", "capacitystatus": "AllocatedHost"}, "Hrs", ["0.0"]),
            (MACHINE | {"instanceType": "m7g.xlarge", "regionCode": "us-east-1"}, "Hrs", ["0.1"]),
            (MACHINE | {"instanceType": "x99.huge"}, "Hrs", ["9"]),
            ({"usagetype": "EUW3-EBS:VolumeUsage.gp3", "volumeApiName": "gp3"}, "GB-Mo", ["0.1"]),
        )
    )
    emr.write_text(
        _offer(
            "ElasticMapReduce",
            ({"instanceType": "m7g.xlarge", "softwareType": "EMR"}, "Hrs", ["0.04"]),
            ({"usagetype": "EUW3-EMR-SERVERLESS-vCPUHours"}, "Hours", ["0.06"]),
            ({"usagetype": "EUW3-EMR-SERVERLESS-ARM-vCPUHours"}, "Hours", ["0.05"]),
        )
    )
    found = update_prices(PRICES, "eu-west-3", [ec2, emr], TODAY)
    paris = found.region("aws", "eu-west-3")
    assert paris.machine["m7g.xlarge"].usd == 0.2
    assert paris.emr["m7g.xlarge"].usd == 0.04
    assert {name: paris.rate[name].usd for name in ("disk-gb-month", "serverless-vcpu-aarch64")} == {
        "disk-gb-month": 0.1,
        "serverless-vcpu-aarch64": 0.05,
    }
    assert "2026-11-20" in found.sources[paris.machine["m7g.xlarge"].source].page
    assert found.read == PRICES.read, "as old as what was not replaced"
    assert paris.machine["m5.xlarge"] == PRICES.region("aws", "eu-west-3").machine["m5.xlarge"]
    assert found.region("aws", "eu-west-1") == PRICES.region("aws", "eu-west-1")


def test_the_refreshed_table_is_one_that_verger_cost_takes(tmp_path: Path) -> None:
    (tmp_path / "emr.json").write_text(
        _offer("ElasticMapReduce", ({"instanceType": "m5.xlarge", "softwareType": "EMR"}, "Hrs", ["1000"]))
    )
    words = ["cost", "refresh", str(tmp_path / "emr.json"), "--region", "eu-west-3"]
    (tmp_path / "mine.json").write_text(CliRunner().invoke(app, words, catch_exceptions=False).stdout)
    dear = ["cost", "--photos", "1e5", "--prices", str(tmp_path / "mine.json"), "--json"]
    output = json.loads(CliRunner().invoke(app, dear, catch_exceptions=False).stdout)
    assert 1000 in [line["usd_a_unit"] for line in output["lines"]]


def test_a_price_in_tiers_is_that_of_the_first_that_is_not_free_and_requests_are_counted_as_ours(
    tmp_path: Path,
) -> None:
    path = tmp_path / "s3.json"
    path.write_text(
        _offer(
            "AmazonS3",
            ({"usagetype": "EUW3-TimedStorage-ByteHrs"}, "GB-Mo", ["0", "0.024", "0.023"]),
            ({"usagetype": "EUW3-TimedStorage-SIA-ByteHrs"}, "GB-Mo", ["0.0131"]),
            ({"usagetype": "EUW3-Requests-Tier1"}, "Requests", ["0.0000053"]),
            # Of other products, and kinds, of the same list.
            ({"usagetype": "EUW3-Tables-TimedStorage-ByteHrs"}, "GB-Mo", ["0.027"]),
            ({"usagetype": "EUW3-Vectors-TimedStorage-ByteHrs"}, "GB-Mo", ["0.06"]),
            ({"usagetype": "EUW3-XZ-TimedStorage-ByteHrs"}, "GB-Mo", ["0.11"]),
            ({"usagetype": "EUW3-Tables-Requests-Tier1"}, "Requests", ["0.0000059"]),
        )
    )
    rates = update_prices(PRICES, "eu-west-3", [path], TODAY).region("aws", "eu-west-3").rate
    assert rates["store-gb-month"].usd == 0.024
    assert rates["store-rare-gb-month"].usd == 0.0131
    assert rates["put-1000"].usd == pytest.approx(0.0053)


def test_a_usage_type_begins_with_the_region_by_its_name_or_by_amazons_word_for_it(tmp_path: Path) -> None:
    path = tmp_path / "kms.json"
    path.write_text(
        _offer(
            "awskms",
            ({"usagetype": "eu-west-3-KMS-Keys"}, "Keys", ["2"]),
            ({"usagetype": "EUW3-KMS-Requests"}, "Requests", ["0.000004"]),
            ({"usagetype": "eu-west-3-KMS-Requests-Asymmetric"}, "Requests", ["0.000015"]),
        )
    )
    rates = update_prices(PRICES, "eu-west-3", [path], TODAY).region("aws", "eu-west-3").rate
    assert rates["key-month"].usd == 2
    assert rates["key-10000"].usd == pytest.approx(0.04)


def test_a_table_of_which_all_is_replaced_is_of_today_however_seldom_amazon_publishes(tmp_path: Path) -> None:
    path = tmp_path / "kms.json"
    path.write_text(_offer("awskms", ({"usagetype": "eu-west-3-KMS-Keys"}, "Keys", ["2"])))
    alone = Region(rate={"key-month": Price(usd=1, source="emr")})
    two = PRICES.model_copy(update={"regions": {"aws": {"eu-west-3": alone, "eu-west-1": alone}}})
    one = PRICES.model_copy(update={"regions": {"aws": {"eu-west-3": alone}}})
    assert update_prices(one, "eu-west-3", [path], TODAY).read == TODAY
    assert update_prices(two, "eu-west-3", [path], TODAY).read == PRICES.read


def test_a_list_that_says_nothing_of_the_region_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s3.json"
    path.write_text(
        _offer("AmazonS3", ({"usagetype": "USE1-Requests-Tier1", "regionCode": "us-east-1"}, "R", ["1"]))
    )
    with pytest.raises(CloudError, match="AmazonS3 has no price that verger uses for eu-west-3"):
        update_prices(PRICES, "eu-west-3", [path], TODAY)
    path.write_text("{}")
    with pytest.raises(SettingsError, match="a file of AWS's price list"):
        update_prices(PRICES, "eu-west-3", [path], TODAY)


def test_every_rate_has_a_unit_and_is_asked_somewhere() -> None:
    used = {what for _, what, _ in PRICES.all_prices()}
    assert set(RATES) <= used
    assert set(TABLE) == set(type(PRICES).model_fields)


def _offer(code: str, *products: tuple[dict[str, str], str, list[str]]) -> str:
    """The form of AWS's bulk price list: products by SKU, and terms by the same."""
    terms, listed = {}, {}
    for number, (attributes, unit, tiers) in enumerate(products):
        sku = f"SKU{number:013}"
        listed[sku] = {
            "sku": sku,
            "productFamily": "any",
            "attributes": {"servicecode": code, "regionCode": "eu-west-3"} | attributes,
        }
        dimensions = {
            f"{sku}.JRTCKXETXF.{tier}": {
                "unit": unit,
                "beginRange": str(1000 * tier),
                "pricePerUnit": {"USD": usd},
            }
            for tier, usd in enumerate(tiers)
        }
        terms[sku] = {f"{sku}.JRTCKXETXF": {"sku": sku, "priceDimensions": dimensions}}
    return json.dumps(
        {
            "formatVersion": "v1.0",
            "offerCode": code,
            "publicationDate": "2026-11-20T10:11:12Z",
            "products": listed,
            "terms": {"OnDemand": terms},
        }
    )
