"""infra/gcp, which no provider has seen here: its form, its words, its regions.

google_schema.py tells the arguments of its resources, as the provider's bindings for Python have them.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from tests.cloud.gcp.google_schema import VERSION, Schema, read_schema
from tests.cloud.hcl import Block, read_blocks
from verger.cloud.deploy.provider import DeploymentSpec, Shape
from verger.cloud.deploy.terraform import infra_folder
from verger.cloud.gcp.names import Names
from verger.cloud.gcp.stack import variables
from verger.cloud.regions import EU_REGIONS

FOLDER = infra_folder("gcp")
META = {"count", "for_each", "depends_on", "provider"}
SPEC = DeploymentSpec(
    "apples", "gcp", "europe-west9", "dataproc", Shape(2, "n2-standard-4", "n2-standard-4"), project="orchard-eu"
)


@pytest.fixture(scope="module")
def blocks() -> list[Block]:
    return read_blocks(FOLDER)


def of_word(blocks: list[Block], word: str) -> dict[str, Block]:
    return {".".join(block.labels): block for block in blocks if block.word == word}


def test_it_is_formatted() -> None:
    if shutil.which("terraform") is None:
        pytest.skip("Terraform is not on PATH")
    subprocess.run(["terraform", "fmt", "-check", "-diff", FOLDER], check=True)


@pytest.mark.cloud
def test_every_argument_is_one_of_the_providers(blocks: list[Block]) -> None:
    things = [block for block in blocks if block.word in ("resource", "data", "provider")]
    assert len(things) > 10
    wrong = [error for block in things for error in misspelt(block, read_schema(block.word, block.labels[0]))]
    assert not wrong
    assert f'version = "{VERSION}"' in (FOLDER / "versions.tf").read_text().replace("  ", " ")


def misspelt(block: Block, schema: Schema) -> Iterator[str]:
    """Yield the arguments that a schema does not know, and those that it misses."""
    where = ".".join((block.word, *block.labels))
    inner = [(word, body) for word, body in map(unwrapped, block.blocks) if word != "lifecycle"]
    names = set(block.arguments) - META | {word for word, _ in inner}
    unknown = names - schema.required - schema.optional
    yield from (f"{where}: {name} is unknown" for name in unknown)
    yield from (f"{where}: {name} is missing" for name in schema.required - names)
    for word, body in inner:
        if word not in unknown:
            yield from misspelt(body, schema.block(word))


def unwrapped(block: Block) -> tuple[str, Block]:
    """Return a block's word and body; of a dynamic one that of its content."""
    if block.word != "dynamic":
        return block.word, block
    (content,) = block.blocks
    return block.labels[0], content


@pytest.mark.cloud
def test_every_reference_is_to_what_there_is(blocks: list[Block]) -> None:
    resources, data = of_word(blocks, "resource"), of_word(blocks, "data")
    text = "\n".join(file.read_text() for file in FOLDER.glob("*.tf"))
    for kind, name, attribute in re.findall(r"\b(?<!data\.)(google_\w+)\.(\w+)(?:\[[^]]\])?(?:\.(\w+))?", text):
        assert f"{kind}.{name}" in resources
        assert not attribute or attribute in read_schema("resource", kind).attributes, (kind, attribute)
    for kind, name, attribute in re.findall(r"\bdata\.(google_\w+)\.(\w+)(?:\[[^]]\])?\.(\w+)", text):
        assert f"{kind}.{name}" in data and attribute in read_schema("data", kind).attributes
    assert set(re.findall(r"\bvar\.(\w+)", text)) == set(of_word(blocks, "variable")), "none unknown, none unused"
    (named,) = (block for block in blocks if block.word == "locals")
    assert set(re.findall(r"\blocal\.(\w+)", text)) == set(named.arguments)


def test_the_regions_are_those_of_the_eu(blocks: list[Block]) -> None:
    (rule,) = of_word(blocks, "variable")["region"].blocks
    for text in (rule.arguments["condition"], rule.arguments["error_message"]):
        assert re.findall(r"\w+-\w+\d+", text) == list(EU_REGIONS["gcp"])


def test_it_takes_the_variables_that_verger_hands_over(blocks: list[Block]) -> None:
    taken = of_word(blocks, "variable")
    assert variables(SPEC).keys() <= taken.keys()
    needed = {name for name, block in taken.items() if "default" not in block.arguments}
    assert needed <= variables(SPEC).keys()


def test_things_are_called_as_verger_looks_for_them(blocks: list[Block]) -> None:
    names, resources = Names.of(SPEC), of_word(blocks, "resource")

    def called(kind: str, argument: str) -> str:
        (thing,) = (block for key, block in resources.items() if key.startswith(f"{kind}."))
        text = thing.arguments[argument].strip('"')
        title = text.replace("${local.title}", "verger-apples").replace("local.title", "verger-apples")
        return title.replace("${var.project}", "orchard-eu")

    (named,) = (block for block in blocks if block.word == "locals")
    assert named.arguments["title"] == '"verger-${var.name}"'
    assert called("google_storage_bucket", "name") == names.bucket
    assert called("google_service_account", "account_id") == names.service_account.partition("@")[0]
    assert called("google_compute_subnetwork", "name") == names.subnetwork.rpartition("/")[2]
    assert called("google_dataproc_autoscaling_policy", "policy_id") == names.autoscaling.rpartition("/")[2]
