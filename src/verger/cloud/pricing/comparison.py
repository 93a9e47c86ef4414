"""Compare engines and machines for the same photos, and find alternatives that cost at most a given amount."""

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

# For each engine: the machines that are compared in addition to the requested machine.
COMPARED_MACHINES = {
    "emr": ("m5.xlarge",),
    "serverless": ("m5.xlarge",),
    "dataproc": ("e2-standard-4", "n2-standard-4"),
    "batch": ("n2-standard-4",),
    "job": ("m5.xlarge",),
}

Estimating = Callable[[DeploymentSpec], Estimate]


def compare(spec: DeploymentSpec, prices: Prices, estimating: Estimating) -> list[Estimate]:
    """Return estimates for the same photos on every engine with known prices, cheapest first."""
    estimates = [estimating(spec)]
    for other in alternatives(spec, prices):
        try:
            estimates.append(estimating(other))
        except CloudError:  # a user's table may have prices for only one cloud
            continue
    return sorted(estimates, key=lambda estimate: estimate.eur.typical)


def alternatives(spec: DeploymentSpec, prices: Prices) -> Iterator[DeploymentSpec]:
    """Yield deployments of every engine that have about as many vCPUs as `spec`.

    For each machine: one deployment on demand and, if the engine allows it, one that is mostly spot.
    """
    vcpus = spec.shape.peak_workers * cores_a_worker(spec.engine, prices.machine(spec.shape.machine))
    for provider, cloud in PROVIDERS.items():
        region = spec.region if provider == spec.provider else DEFAULT_REGIONS[provider]
        for engine in cloud.engines:
            for machine in _machines(spec, provider, engine, prices):
                workers = max(1, round(vcpus / cores_a_worker(engine, prices.machine(machine))))
                for shape in _shapes(machine, workers, engine, spot=spec.shape.spot):
                    other = replace(spec, provider=provider, region=region, engine=engine, shape=shape)
                    if other != spec:
                        yield other


def describe_affordable(max_eur: float, others: list[Estimate], of_count: Callable[[int], Estimate]) -> str:
    """Describe an alternative that costs at most `max_eur`: the first such engine of `others`, or fewer photos."""
    for other in others:
        if other.eur.high <= max_eur:
            spec = other.deployment
            engine = f"{spec.provider} {spec.engine} {shape_text(spec.shape)}"
            return f"{engine} would cost {other.eur.high:,.2f} EUR at most"
    count = affordable_photos(max_eur, of_count)
    return f"this limit is enough for {count:,} photos" if count else "the machines alone cost more"


def affordable_photos(max_eur: float, of_count: Callable[[int], Estimate]) -> int:
    """Return the number of photos, within 1 %, that cost at most `max_eur`; 0 if one photo costs more."""
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


def _machines(spec: DeploymentSpec, provider: str, engine: str, prices: Prices) -> list[str]:
    """Return the engine's machines to compare, on the requested cloud with the requested machine first.

    Machines that are not in the table of prices are left out.
    """
    own = (spec.shape.machine,) if provider == spec.provider else ()
    return [name for name in dict.fromkeys((*own, *COMPARED_MACHINES[engine])) if name in prices.machines]
