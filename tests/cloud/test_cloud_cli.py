"""What `verger cloud` says and refuses before any cloud is asked."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from verger.cli import app
from verger.cloud.aws import Aws
from verger.cloud.deploy import deployments
from verger.cloud.deploy.provider import DeploymentSpec, Shape
from verger.cloud.deploy.terraform import infra_folder
from verger.cloud.regions import EU_REGIONS
from verger.errors import CloudError, SettingsError, SetupError


@pytest.fixture(autouse=True)
def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No state, no credentials, no configuration, and nobody who answers."""
    monkeypatch.setenv("VERGER_STATE", str(tmp_path / "state"))
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.chdir(tmp_path)


def cloud(*words: str) -> Result:
    return CliRunner().invoke(app, ["cloud", *words])


def refused(*words: str) -> str:
    done = cloud(*words)
    assert isinstance(done.exception, CloudError | SettingsError | SetupError), done.output
    return str(done.exception)


def orchard() -> DeploymentSpec:
    return DeploymentSpec("orchard", "aws", "eu-west-3", "emr", Shape(2, "m5.xlarge", "m5.xlarge"))


def test_a_plan_needs_no_account_and_says_where_what_and_how_much() -> None:
    output = cloud("plan", "--shape", "2..4xm5.xlarge", "--photos", "22688").output
    for words in ("eu-west-3 (Paris)", "EMR cluster", "S3 bucket", "budget", "spot", "EUR an hour", "22,688"):
        assert words in output, words
    assert not deployments.has_deployment(), "a plan is not remembered"


@pytest.mark.parametrize(
    ("words", "is_ended"),
    [
        ("", False),  # EMR's alarm tells, and ends nothing
        ("--engine serverless", True),
        ("--engine serverless --max-hours 12", False),
        ("--provider gcp", True),
        ("--provider gcp --engine batch", True),
        ("--provider databricks", True),
    ],
)
def test_a_plan_says_that_a_job_would_be_ended_before_it_is_done(words: str, is_ended: bool) -> None:
    output = cloud("plan", *words.split(), "--photos", "2e7").output
    assert ("would be stopped after 4 hours without a result: use --max-hours" in output) == is_ended, output
    assert "would be stopped" not in cloud("plan", *words.split(), "--photos", "1e5").output


@pytest.mark.parametrize(
    "words", ["--region eu-north-1", "--shape 2xc5.xlarge", "--provider gcp --region europe-west4"]
)
def test_what_has_no_price_can_be_had_and_a_limit_on_it_cannot(words: str) -> None:
    done = cloud("plan", *words.split())
    assert done.exit_code == 0 and "the cost per hour is unknown: no price for" in done.output, done.output
    assert "--max-eur 5" in refused("plan", *words.split(), "--max-eur", "5")


@pytest.mark.parametrize(
    "provider",
    [("aws", "eu-west-2", "London"), ("gcp", "europe-west6", "Zurich"), ("databricks", "uksouth", "London")],
)
@pytest.mark.parametrize("command", ["plan", "up"])
def test_what_is_not_in_the_union_is_refused_with_the_list(command: str, provider: tuple[str, str, str]) -> None:
    name, region, city = provider
    output = refused(command, "--provider", name, "--region", region)
    assert f"{region} ({city}) is not in the European Union" in output
    assert all(allowed in output for allowed in EU_REGIONS[name])


@pytest.mark.parametrize("command", ["plan", "up"])
def test_what_costs_more_than_allowed_is_refused(command: str) -> None:
    assert "more than --max-eur 1" in refused(command, "--max-eur", "1", "--shape", "9xm5.xlarge")
    assert "the limit is 1.00 EUR" in refused(command, "--max-eur", "1", "--photos", "1e8")
    assert not deployments.has_deployment()


@pytest.mark.parametrize(
    ("words", "max_eur"),
    [
        ("--shape 2..20xm5.xlarge", 6),  # 0.77 EUR an hour while nothing runs
        ("--engine serverless --shape 2..20xm5.xlarge", 6),
        ("--provider gcp --engine batch", 3),
        ("--provider databricks", 3),
    ],
)
def test_the_limit_is_held_against_all_workers_at_work(words: str, max_eur: int) -> None:
    output = refused("plan", *words.split(), "--max-eur", str(max_eur))
    most = re.search(r"4 hours with all workers may cost ([\d.]+) EUR, more than --max-eur", output)
    assert most and float(most[1]) > max_eur, output
    assert cloud("plan", *words.split(), "--max-eur", str(float(most[1]) + 0.01)).exit_code == 0


def test_what_is_paid_until_it_is_taken_down_is_told() -> None:
    for engine, ends in (
        ("emr", "machines end after 15 idle minutes"),
        ("serverless", "machines end with each job"),
    ):
        output = cloud("plan", "--engine", engine).output
        assert f"{ends}; the network's endpoint costs 6.91 EUR a month until `verger cloud down`" in output
    assert "until `verger cloud down`" not in cloud("plan", "--provider", "gcp").output


def test_a_plan_tells_the_machines_that_dataproc_makes() -> None:
    one, two = (cloud("plan", "--provider", "gcp", "--shape", f"{n}xn2-standard-4").output for n in (1, 2))
    assert "2xn2-standard-4 and n2-standard-4" in one and one == two


@pytest.mark.parametrize("photos", ["inf", "nan", "-3", "0.2"])
def test_photos_that_nobody_can_count_are_refused(photos: str) -> None:
    assert "photos = " in refused("plan", "--photos", photos)


@pytest.mark.parametrize(
    ("words", "output"),
    [
        (("--shape", "four"), "shape = 'four'"),
        (("--shape", "2xm7g.xlarge"), "m7g.xlarge is a Graviton machine"),
        (("--primary", "c7g.2xlarge"), "c7g.2xlarge is a Graviton machine"),
        (("--engine", "dataproc"), "engine = 'dataproc' is not valid: expected one of emr, serverless"),
        (("--provider", "azure"), "provider = 'azure' is not valid: expected one of aws, gcp, databricks"),
        (("--name", "My Orchard"), "name = 'My Orchard'"),
        (("--idle-minutes", "0"), "idle_minutes = 0"),
    ],
)
def test_flags_are_refused_by_name_and_value(words: tuple[str, str], output: str) -> None:
    assert output in refused("up", *words)


def test_serverless_needs_an_image_and_says_how_one_is_made(tmp_path: Path) -> None:
    planned = cloud("plan", "--engine", "serverless")
    assert planned.exit_code == 0 and "needs --image" in planned.output
    output = refused("up", "--engine", "serverless", "--region", "eu-west-1", "--yes")
    image = "ACCOUNT.dkr.ecr.eu-west-1.amazonaws.com/verger:"
    steps = ("--image", "verger cloud package", "serverless/Dockerfile", f"-t {image}", f"docker push {image}")
    assert all(step in output for step in steps), output
    assert not deployments.has_deployment()

    named = ("--image", "orchard/verger:1")
    assert "orchard/verger:1" in cloud("plan", "--engine", "serverless", *named).output
    assert "no credentials for AWS" in refused("up", "--engine", "serverless", *named, "--yes")
    for other in ((), ("--provider", "gcp"), ("--provider", "gcp", "--engine", "batch")):
        assert "image = 'orchard/verger:1' is not valid" in refused("plan", *named, *other)


def test_a_package_is_made_for_machines_that_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Aws, "check", lambda *_: None)
    monkeypatch.setattr(Aws, "up", lambda *_: None)
    made: list[Path] = []
    monkeypatch.setattr("verger.cloud.deploy.package.build", lambda folder, *_: made.append(folder))
    image = ("--engine", "serverless", "--image", "orchard/verger:1")
    assert cloud("up", "--name", "pears", *image, "--yes").exit_code == 0 and made == []
    assert cloud("up", "--name", "apples", "--yes").exit_code == 0
    assert made == [deployments.folder_of("apples") / "package"]


def test_without_a_terminal_nothing_is_made_removed_or_started_unasked() -> None:
    assert "use --yes" in refused("up")
    assert not deployments.has_deployment()
    deployments.save_deployment(orchard())
    assert "use --yes" in refused("down")
    assert "use --yes" in refused("submit", "raw/", "results/a")
    assert deployments.load_deployment() == orchard()


def test_missing_credentials_are_said_before_anything_is_noted(tmp_path: Path) -> None:
    assert "there are no credentials for AWS: run `aws configure sso`" in refused("up", "--yes")
    assert not deployments.has_deployment()
    deployments.save_deployment(orchard())
    for words in (("status",), ("logs", "s-1"), ("fetch", "results/a", "out"), ("guard",), ("down", "--yes")):
        assert "there are no credentials for AWS" in refused(*words)


def test_missing_terraform_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "Terraform is not on PATH" in refused("up", "--yes")


@pytest.mark.parametrize(
    ("provider", "flag", "value", "other"),
    [
        ("gcp", "project", "orchard-eu", "cellar-eu"),
        ("databricks", "workspace", "https://a.cloud.databricks.com", "https://b.cloud.databricks.com"),
        ("databricks", "catalog", "fruit", "wine"),
    ],
)
def test_a_deployment_is_not_forgotten_for_one_elsewhere(
    provider: str, flag: str, value: str, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    region, engine = {"gcp": ("europe-west9", "dataproc"), "databricks": ("eu-west-3", "job")}[provider]
    place: dict[str, Any] = {"provider": provider, "region": region, "engine": engine, flag: value}
    there = replace(orchard(), **place)
    deployments.save_deployment(there)
    asked = ("up", "--name", "orchard", "--provider", provider, "--yes")
    assert f"--{flag} {value}): use another --name" in refused(*asked, f"--{flag}", other)
    assert deployments.load_deployment("orchard") == there

    monkeypatch.setenv("DATABRICKS_HOST", "https://a.cloud.databricks.com/")
    if flag == "workspace":
        assert "use --yes" in refused(*asked[:-1]), "the same place, told by the environment"


def test_an_interrupted_up_can_be_seen_and_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Aws, "check", lambda *_: None)
    monkeypatch.setattr(Aws, "up", interrupted)
    done = cloud("up", "--yes", "--package", ".", "--name", "orchard")
    assert done.exit_code == 130 and "`verger cloud down --name orchard` removes it" in done.output
    assert deployments.load_deployment().name == "orchard"


def test_a_typo_is_refused_here_and_not_on_the_cluster() -> None:
    deployments.save_deployment(orchard())
    assert "model = 'MobilNet'" in refused("submit", "raw/", "results/a", "--model", "MobilNet", "--yes")
    assert "components = 'many'" in refused("submit", "raw/", "results/a", "--components", "many", "--yes")
    assert cloud("submit", "raw/", "results/a", "--componets", "3", "--yes").exit_code == 2


def test_a_second_down_says_that_there_is_nothing() -> None:
    done = cloud("down", "--yes")
    assert done.exit_code == 0 and "nothing to remove" in done.output


def test_one_name_is_not_made_twice_in_two_places() -> None:
    deployments.save_deployment(orchard())
    assert "another --name" in refused("up", "--name", "orchard", "--region", "eu-west-1", "--yes")
    assert json.loads((deployments.folder_of("orchard") / deployments.FILE).read_text())["region"] == "eu-west-3"


def test_a_known_deployment_stays_as_it_is_but_for_what_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Aws, "check", lambda *_: None)
    monkeypatch.setattr(Aws, "up", lambda *_: None)

    def up(*words: str) -> DeploymentSpec:
        done = cloud("up", "--name", "orchard", "--package", ".", "--yes", *words)
        assert done.exit_code == 0, done.output
        return deployments.load_deployment("orchard")

    first = up("--shape", "4..8xm5.2xlarge", "--no-spot", "--email", "me@example.org", "--notebook")
    assert up() == first
    assert up("--idle-minutes", "60") == replace(first, idle_minutes=60)
    assert up("--spot").shape == replace(first.shape, spot=True)
    assert "orchard: emr on aws, eu-west-3 (Paris), 4..8xm5.2xlarge" in cloud("plan", "--name", "orchard").output

    other = up("--shape", "1xm5.xlarge", "--no-notebook", "--email", "")
    assert other.shape.primary == "m5.xlarge" and not other.notebook and other.email is None
    up("--primary", "m5.2xlarge")
    assert up("--shape", "2xm5.xlarge").shape.primary == "m5.2xlarge", "what was said by itself stays"

    assert up("--engine", "serverless", "--image", "orchard/verger:1").image == "orchard/verger:1"
    assert up("--idle-minutes", "5").image == "orchard/verger:1"
    assert up("--engine", "emr").image is None
    assert "europe-west9" in cloud("plan", "--name", "orchard", "--provider", "gcp").output


# The beginnings of Terraform's kinds, and what the plan calls them, or what they belong to.
TOLD_AS = {
    "aws_budgets": "budget",
    "aws_cloudwatch": "CloudWatch alarm",
    "aws_default_security_group": "VPC",
    "aws_emr_cluster": "EMR cluster",
    "aws_emr_instance_fleet": "managed scaling",
    "aws_emr_managed_scaling": "managed scaling",
    "aws_emr_security": "EMR cluster",
    "aws_emrserverless": "EMR Serverless application",
    "aws_iam": "IAM roles",
    "aws_kms": "KMS key",
    "aws_route": "VPC",
    "aws_s3": "S3 bucket",
    "aws_security_group": "VPC",
    "aws_sns": "SNS topic",
    "aws_subnet": "VPC",
    "aws_vpc_endpoint": "interface endpoint",
    "aws_vpc": "VPC",
}


def test_the_plan_tells_everything_that_terraform_would_make() -> None:
    fullest = Shape(2, "m5.xlarge", "m5.xlarge", max_workers=4)
    made = [
        replace(orchard(), email="me@example.org", shape=fullest, engine=engine) for engine in ("emr", "serverless")
    ]
    output = {resource.kind for spec in made for resource in Aws().plan(spec)}
    for file in infra_folder("aws").glob("*.tf"):
        for kind in re.findall(r'^resource "(\w+)"', file.read_text(), re.MULTILINE):
            begins = next((each for each in TOLD_AS if kind.startswith(each)), None)
            assert begins and TOLD_AS[begins] in output, f"{file.name}: {kind}"
