"""Estimate a run's cost and duration from prices, a calibration and the model of the duration.

No estimate has been compared with a real bill yet. Uncertain quantities are ranges, based on the assumptions below.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from verger.cloud.deploy.provider import DeploymentSpec
from verger.cloud.deploy.targets import check_engine
from verger.cloud.pricing.bill import BILLS, HOURS_A_MONTH, BilledHours, Line, cores_a_worker, standing_lines
from verger.cloud.pricing.calibration import Calibration
from verger.cloud.pricing.duration import MEASURED, Workload, hours
from verger.cloud.pricing.prices import Prices, Range, price_of
from verger.errors import CloudError, SettingsError

MAX_PHOTOS = 10**10  # upper limit of the search for the number of affordable photos
MAX_PHOTO_KB = 10**6

# Time that a cloud's vCPU needs for a photo, as a multiple of the calibrated core's time. Causes of the difference:
# another processor; two vCPUs share one core; a cluster has 0.93 of the speed, a run from a store 0.61 (benchmarks/
# results.md, with the store on the same cores). Assumed: no cloud machine and no ARM processor was measured.
SLOWNESS = {"x86_64": Range(0.65, 1.15, 2.0), "aarch64": Range(0.65, 1.3, 2.8)}

# Minutes from the command to the first task: machines start and install software. This time is billed. Assumed.
START_MINUTES = {
    "emr": Range(6, 8, 12),
    "serverless": Range(1, 2, 4),
    "dataproc": Range(2, 4, 8),
    "batch": Range(1, 2, 4),
    "job": Range(4, 6, 10),
}

# Share of the work that is repeated because the cloud takes spot machines back. Assumed.
REDONE = Range(0, 0.05, 0.25)

# Engines whose machines stay after the job for `idle_minutes`.
IDLING_ENGINES = ("emr", "dataproc")

# Engines that stop a job, or its cluster, after `max_hours`. On EMR, an alarm is sent instead.
TIME_LIMITED_ENGINES = ("serverless", "dataproc", "batch", "job")

# Providers whose deployments have a key for the bucket, and an alarm.
PROVIDERS_WITH_KEY = ("aws",)

# KMS requests per request to the bucket: Amazon says that a bucket key saves up to 99 % of the KMS requests.
KEY_REQUESTS_A_REQUEST = 0.01
SHARD_BYTES = 256_000_000  # the same size as in sources/packed.py
ALARMS = 1  # infra/aws/alerts.tf: a cluster that runs too long

BYTES_A_MEGAPIXEL = 280_000  # in a phone's JPEG

CASES = ("low", "typical", "high")


@dataclass(frozen=True)
class PhotoSet:
    """The photos of an estimate: their number, and their mean size in bytes and megapixels.

    megapixels: None if only the size in bytes is known. is_packed: whether the photos are in shards, which take
    fewer requests. decode: exact or scaled, as in `--decode`.
    """

    count: int
    mean_bytes: float
    is_packed: bool = False
    megapixels: float | None = None
    decode: str = "exact"

    @classmethod
    def from_sizes(
        cls, count: int, calibration: Calibration, mean_kb: float | None = None, megapixels: float | None = None
    ) -> PhotoSet:
        """Return photos of the given size in kB or megapixels; the default is the calibration's mean size."""
        if mean_kb is not None:
            mean_bytes = mean_kb * 1000
        else:
            mean_bytes = calibration.mean_bytes if megapixels is None else megapixels * BYTES_A_MEGAPIXEL
        return cls(count, mean_bytes, megapixels=megapixels)


@dataclass(frozen=True)
class Estimate:
    """Duration and cost of one run.

    hours: from the command to the result. eur: total cost of the run. lines: the bill of the likely case, in USD.
    eur_a_month: monthly cost of storing photos and results in the bucket.
    eur_a_month_until_down: other monthly costs until `verger cloud down`, with or without machines.
    eur_once: cost of the requests that upload the photos.
    """

    deployment: DeploymentSpec
    photos: PhotoSet
    hours: Range
    eur: Range
    lines: tuple[Line, ...]
    eur_a_month: float
    eur_a_month_until_down: float
    eur_once: float


def estimate(
    spec: DeploymentSpec,
    photos: PhotoSet,
    calibration: Calibration,
    prices: Prices,
    standing_h: float = 0.0,
) -> Estimate:
    """Estimate the cost of one run.

    The cost includes the start of the machines, their idle time after the job, and `standing_h` more idle hours.
    """
    _check(spec, photos)
    workload = _workload(spec, photos, calibration, prices)
    billed_hours = {case: _billed_hours(spec, workload, prices, standing_h, case) for case in CASES}
    lines = {case: _lines(spec, workload, calibration, prices, billed_hours[case]) for case in CASES}
    eur = (eur_of(lines[case], prices) for case in CASES)
    waiting = (billed_hours[case].start + billed_hours[case].run for case in CASES)
    month = prices.eur_per_usd * usd_a_month(spec, photos, calibration, prices)
    until_down = eur_a_month_until_down(spec, prices)
    once = prices.eur_per_usd * _usd_once(spec, photos, prices)
    typical = tuple(lines["typical"])
    return Estimate(spec, photos, Range(*waiting), Range(*eur), typical, month, until_down, once)


def idle_hour(spec: DeploymentSpec, prices: Prices) -> tuple[Line, ...]:
    """Return the bill of one idle hour: no job runs, and there are no added workers."""
    _check(spec)
    idle = BilledHours(start=0, run=0, idle=1, spot=1)
    return tuple(line for line in BILLS[spec.engine](spec, idle, prices) if line.quantity)


def busiest_hour(spec: DeploymentSpec, prices: Prices) -> tuple[Line, ...]:
    """Return the highest possible bill of one hour: all workers run, and spot machines have their highest price."""
    _check(spec)
    busy = BilledHours(start=0, run=1, idle=0, spot=_spot(spec, prices).high)
    return tuple(line for line in BILLS[spec.engine](spec, busy, prices) if line.quantity)


def eur_a_month_until_down(spec: DeploymentSpec, prices: Prices) -> float:
    """Return the monthly cost between `up` and `down` while no machine runs: on AWS, the endpoint."""
    return eur_of(standing_lines(spec, HOURS_A_MONTH, prices), prices)


def eur_of(lines: Iterable[Line], prices: Prices) -> float:
    """Return the sum of a bill's lines in euros."""
    return prices.eur_per_usd * sum(line.usd for line in lines)


def usd_a_month(spec: DeploymentSpec, photos: PhotoSet, calibration: Calibration, prices: Prices) -> float:
    """Return the monthly cost of storing photos and results, and of key and alarm if the provider has them."""
    _, region = prices.below(spec.provider, spec.region)
    stored_gb = photos.count * (photos.mean_bytes + result_bytes(calibration)) / 1e9
    usd = stored_gb * price_of(region.rate, "store-gb-month", "rate")
    if spec.provider in PROVIDERS_WITH_KEY:
        usd += price_of(region.rate, "key-month", "rate") + ALARMS * price_of(region.rate, "alarm-month", "rate")
    return usd


def _usd_once(spec: DeploymentSpec, photos: PhotoSet, prices: Prices) -> float:
    """Return the cost of uploading the photos: each photo or shard is one request; the bytes are free."""
    _, region = prices.below(spec.provider, spec.region)
    n_shards = math.ceil(photos.count * photos.mean_bytes / SHARD_BYTES)
    puts = n_shards if photos.is_packed else photos.count
    return puts / 1000 * price_of(region.rate, "put-1000", "rate")


def result_bytes(calibration: Calibration) -> float:
    """Return the bytes of one photo in a result: a row of features (four bytes each) and a row of components."""
    other_columns = MEASURED.feature_bytes - 4 * 1280
    return 4 * calibration.n_features + other_columns + MEASURED.component_bytes


def check_budget(estimated: Estimate, max_eur: float, fitting: str = "") -> None:
    """Raise CloudError if a run may cost more than `max_eur`; `fitting` describes a cheaper alternative."""
    if estimated.eur.high > max_eur:
        eur = estimated.eur
        raise CloudError(
            f"{estimated.photos.count:,} photos may cost up to {eur.high:,.2f} EUR (likely {eur.typical:,.2f}), "
            f"but the limit is {max_eur:,.2f} EUR{'; ' * bool(fitting)}{fitting}"
        )


def parse_photo_count(photos: str | float | None) -> int:
    """Parse a number of photos, such as 22688 or 1e6. Raises SettingsError."""
    try:
        count = float(photos or 0)
    except ValueError:
        count = 0
    if not 1 <= count <= MAX_PHOTOS:
        raise SettingsError("photos", photos, f"a number from 1 to {MAX_PHOTOS:,}, such as 22688 or 1e6")
    return round(count)


def _check(spec: DeploymentSpec, photos: PhotoSet | None = None) -> None:
    check_engine(spec.provider, spec.engine)
    if photos is not None and photos.count < 1:
        raise SettingsError("photos", photos.count, "at least one")
    if photos is not None and not 0 <= photos.mean_bytes <= 1000 * MAX_PHOTO_KB:
        raise SettingsError("mean_kb", photos.mean_bytes / 1000, f"0 to {MAX_PHOTO_KB:,} kB per photo")


def _workload(spec: DeploymentSpec, photos: PhotoSet, calibration: Calibration, prices: Prices) -> Workload:
    shape = spec.shape
    n_cores = shape.peak_workers * cores_a_worker(spec.engine, prices.machine(shape.machine))
    if photos.megapixels is None:
        photo_ms = calibration.photo_ms(photos.mean_bytes)
    else:
        photo_ms = calibration.photo_ms_by_pixels(photos.megapixels, photos.decode)
    return Workload(photos.count, n_cores, photo_ms, round(photos.mean_bytes), photos.is_packed)


def _billed_hours(
    spec: DeploymentSpec, workload: Workload, prices: Prices, standing_h: float, case: str
) -> BilledHours:
    """Return the hours of each phase; case: one of CASES."""
    slowness = getattr(SLOWNESS[prices.machine(spec.shape.machine).arch], case)
    run = hours(
        Workload(
            workload.n_photos,
            workload.n_cores,
            workload.photo_ms * slowness,
            workload.photo_bytes,
            workload.is_packed,
        )
    )
    spot = getattr(_spot(spec, prices), case)
    if spec.has_spot:
        run *= 1 + getattr(REDONE, case)
    idle = spec.idle_minutes / 60 + standing_h if spec.engine in IDLING_ENGINES else 0.0
    return BilledHours(getattr(START_MINUTES[spec.engine], case) / 60, run, idle, spot)


def _spot(spec: DeploymentSpec, prices: Prices) -> Range:
    """Return the price of added machines as a fraction of the price on demand."""
    if not spec.has_spot:
        return Range(1, 1, 1)
    cloud, _ = prices.below(spec.provider, spec.region)
    return prices.spot_of(cloud)


def _lines(
    spec: DeploymentSpec, workload: Workload, calibration: Calibration, prices: Prices, billed_hours: BilledHours
) -> list[Line]:
    """Return the lines of the machines, then those of the object store."""
    _, region = prices.below(spec.provider, spec.region)
    results_gb = workload.n_photos * result_bytes(calibration) / 1e9
    key_requests = KEY_REQUESTS_A_REQUEST * (workload.all_gets + workload.all_puts)

    def line(what: str, quantity: float, unit: str, rate: str) -> Line:
        return Line(what, quantity, unit, price_of(region.rate, rate, "rate"))

    store = [
        line("GET", workload.all_gets / 1000, "1,000 requests", "get-1000"),
        line("PUT, LIST", workload.all_puts / 1000, "1,000 requests", "put-1000"),
        line("download of results", results_gb, "GB", "out-gb"),
    ]
    if spec.provider in PROVIDERS_WITH_KEY:
        store.append(line("requests to the key", key_requests / 10_000, "10,000 requests", "key-10000"))
    machines = BILLS[spec.engine](spec, billed_hours, prices)
    return [line for line in [*machines, *store] if line.quantity]
