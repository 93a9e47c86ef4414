"""Other engines and machines for the same photos, side by side; and what would fit a budget."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from verger.cloud.deploy.provider import MIN_WORKERS, DeploymentSpec, Shape
from verger.cloud.deploy.targets import PROVIDERS
from verger.cloud.pricing.bill import cores_a_worker
from verger.cloud.pricing.estimate import IDLING_ENGINES, MAX_PHOTOS, Estimate
from verger.cloud.pricing.prices import Prices
from verger.cloud.pricing.shapes import shape_text
from verger.cloud.regions import DEFAULT_REGIONS
from verger.errors import CloudError

# What is compared of each engine, beside the machine that was asked for.
COMPARED = {
    "emr": ("m5.xlarge",),
    "serverless": ("m5.xlarge",),
    "dataproc": ("e2-standard-4", "n2-standard-4"),
    "batch": ("n2-standard-4",),
    "job": ("m5.xlarge",),
}

Estimating = Callable[[DeploymentSpec], Estimate]


def compare(asked: DeploymentSpec, prices: Prices, estimating: Estimating) -> list[Estimate]:
    """Return what the same photos cost on every engine there are prices for, cheapest first."""
    estimates = [estimating(asked)]
    for other in alternatives(asked, prices):
        try:
            estimates.append(estimating(other))
        except CloudError:  # a table of one's own may hold one cloud alone
            continue
    return sorted(estimates, key=lambda estimate: estimate.eur.typical)


def alternatives(asked: DeploymentSpec, prices: Prices) -> Iterator[DeploymentSpec]:
    """Yield deployments with as many vCPUs: every engine, on demand and, where machines linger, mostly spot."""
    vcpus = asked.shape.peak_workers * cores_a_worker(asked.engine, prices.machine(asked.shape.machine))
    for provider, cloud in PROVIDERS.items():
        region = asked.region if provider == asked.provider else DEFAULT_REGIONS[provider]
        for engine in cloud.engines:
            for machine in _machines(asked, provider, engine, prices):
                workers = max(1, round(vcpus / cores_a_worker(engine, prices.machine(machine))))
                for shape in _shapes(machine, workers, engine, spot=asked.shape.spot):
                    other = replace(asked, provider=provider, region=region, engine=engine, shape=shape)
                    if other != asked:
                        yield other


def describe_affordable(max_eur: float, others: list[Estimate], of_count: Callable[[int], Estimate]) -> str:
    """Say what would cost at most so much: the likely cheapest of others, or so many photos as asked."""
    for other in others:
        if other.eur.high <= max_eur:
            made = other.deployment
            named = f"{made.provider} {made.engine} {shape_text(made.shape)}"
            return f"{named} would cost {other.eur.high:,.2f} EUR at most"
    most = affordable_photos(max_eur, of_count)
    return f"{most:,} photos would fit" if most else "not even one photo fits: the machines alone cost more"


def affordable_photos(max_eur: float, of_count: Callable[[int], Estimate]) -> int:
    """Return how many photos cost at most so much; 0 where one costs more."""
    fits, fails = 0, MAX_PHOTOS
    while fails - fits > max(1, fits // 100):
        tried = (fits + fails) // 2 if fits else max(1, fails // 10)
        if of_count(tried).eur.high <= max_eur:
            fits = tried
        else:
            fails = tried
    return fits


def _shapes(machine: str, workers: int, engine: str, *, spot: bool) -> Iterator[Shape]:
    yield Shape(workers, machine, machine, spot=spot)
    least = MIN_WORKERS.get(engine, 1)
    if engine in IDLING_ENGINES and workers > least:
        yield Shape(least, machine, machine, workers, spot=True)


def _machines(asked: DeploymentSpec, provider: str, engine: str, prices: Prices) -> list[str]:
    """Those of COMPARED that the table knows, and the one asked for where it is of this cloud."""
    own = (asked.shape.machine,) if provider == asked.provider else ()
    return [name for name in dict.fromkeys((*own, *COMPARED[engine])) if name in prices.machines]
