"""What a run costs, before a cent is spent: arithmetic on prices, a calibration and the plan of its time.

Nothing here has been compared with a bill. What nobody could know beforehand is a range, and stands below in words.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from verger.cloud.deploy.provider import DeploymentSpec
from verger.cloud.deploy.targets import check_engine
from verger.cloud.pricing.bill import BILLS, HOURS_A_MONTH, BilledHours, Line, cores_a_worker, standing
from verger.cloud.pricing.calibration import Calibration
from verger.cloud.pricing.duration import MEASURED, Workload, hours
from verger.cloud.pricing.prices import Prices, Range, price_of
from verger.errors import CloudError, SettingsError

MAX_PHOTOS = 10**10  # a search for how many are paid by a sum ends there
MAX_PHOTO_KB = 10**6

# How many times as long as a core of the calibration one of theirs takes for a photo: the processor's own speed,
# two threads on one core, a cluster (benchmarks/results.md: 0.93 of the speed), photos from a store (0.61, with the
# store on the same cores). Assumed: no cloud's machine was ever measured, and no ARM at all.
SLOWNESS = {"x86_64": Range(0.65, 1.15, 2.0), "aarch64": Range(0.65, 1.3, 2.8)}

# Minutes from the order to the first task, which are paid: machines, software, verger's own wheels. Assumed.
START_MINUTES = {
    "emr": Range(6, 8, 12),
    "serverless": Range(1, 2, 4),
    "dataproc": Range(2, 4, 8),
    "batch": Range(1, 2, 4),
    "job": Range(4, 6, 10),
}

# The share of the work that is done again because the cloud took spot machines back. Assumed.
REDONE = Range(0, 0.05, 0.25)

# Engines whose machines stay when the work is done, until they have idled long enough.
IDLING_ENGINES = ("emr", "dataproc")

# Engines that end a job after `max_hours`, or its cluster; EMR's is told of by an alarm.
TIME_LIMITED_ENGINES = ("serverless", "dataproc", "batch", "job")

# infra/aws alone makes a key for the bucket, and an alarm.
HAS_KEY = ("aws",)

# A bucket's own key asks KMS once for many objects: for up to 99 % fewer requests, says Amazon.
KEY_REQUESTS_A_REQUEST = 0.01
SHARD_BYTES = 256_000_000  # as sources/packed.py has it
ALARMS = 1  # infra/aws/alerts.tf: a cluster that lives long

BYTES_A_MEGAPIXEL = 280_000  # of a phone's JPEG

CASES = ("low", "typical", "high")


@dataclass(frozen=True)
class PhotoSet:
    """Photos to be priced: how many, their mean bytes and megapixels.

    megapixels: None where only the bytes are known. is_packed: they take a request a shard instead of one each.
    decode: as `--decode`, exact or scaled.
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
        """Return photos by what is known of their size: that of the calibration's where nothing is."""
        if mean_kb is not None:
            mean_bytes = mean_kb * 1000
        else:
            mean_bytes = calibration.mean_bytes if megapixels is None else megapixels * BYTES_A_MEGAPIXEL
        return cls(count, mean_bytes, megapixels=megapixels)


@dataclass(frozen=True)
class Estimate:
    """hours: from the order to the result; eur: all that is paid for it; lines: the typical case, in USD.

    eur_a_month: what stays to be paid while photos and results lie in the bucket.
    eur_a_month_until_down: what stays to be paid beside it until `verger cloud down`, whether anything runs or not.
    eur_once: the requests that bring the photos there.
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
    deployment: DeploymentSpec,
    photos: PhotoSet,
    calibration: Calibration,
    prices: Prices,
    standing_h: float = 0.0,
) -> Estimate:
    """Return what it costs to start the machines, run the chain once, and let them stand for so long after it."""
    _check(deployment, photos)
    job = _job(deployment, photos, calibration, prices)
    spent = {case: _spent(deployment, job, prices, standing_h, case) for case in CASES}
    lines = {case: _lines(deployment, job, calibration, prices, spent[case]) for case in CASES}
    eur = (eur_of(lines[case], prices) for case in CASES)
    waited = (spent[case].start + spent[case].run for case in CASES)
    month = prices.eur_per_usd * usd_a_month(deployment, photos, calibration, prices)
    until_down = eur_a_month_until_down(deployment, prices)
    once = prices.eur_per_usd * _usd_once(deployment, photos, prices)
    typical = tuple(lines["typical"])
    return Estimate(deployment, photos, Range(*waited), Range(*eur), typical, month, until_down, once)


def idle_hour(deployment: DeploymentSpec, prices: Prices) -> tuple[Line, ...]:
    """Return what an hour costs in which it is up, at its smallest, and nothing runs."""
    _check(deployment)
    idle = BilledHours(start=0, run=0, idle=1, spot=1)
    return tuple(line for line in BILLS[deployment.engine](deployment, idle, prices) if line.quantity)


def busiest_hour(deployment: DeploymentSpec, prices: Prices) -> tuple[Line, ...]:
    """Return what an hour costs at most: all workers at work, spot machines as dear as they may be."""
    _check(deployment)
    busy = BilledHours(start=0, run=1, idle=0, spot=_spot(deployment, prices).high)
    return tuple(line for line in BILLS[deployment.engine](deployment, busy, prices) if line.quantity)


def eur_a_month_until_down(deployment: DeploymentSpec, prices: Prices) -> float:
    """Return what a month costs from `up` to `down`, whether there are machines or not: on AWS the endpoint."""
    return eur_of(standing(deployment, HOURS_A_MONTH, prices), prices)


def eur_of(lines: Iterable[Line], prices: Prices) -> float:
    """Return what lines of a bill come to, in euros."""
    return prices.eur_per_usd * sum(line.usd for line in lines)


def usd_a_month(deployment: DeploymentSpec, photos: PhotoSet, calibration: Calibration, prices: Prices) -> float:
    """Return what photos and results cost a month, with their key and the alarm where there is one."""
    _, region = prices.below(deployment.provider, deployment.region)
    stored_gb = photos.count * (photos.mean_bytes + result_bytes(calibration)) / 1e9
    usd = stored_gb * price_of(region.rate, "store-gb-month", "rate")
    if deployment.provider in HAS_KEY:
        usd += price_of(region.rate, "key-month", "rate") + ALARMS * price_of(region.rate, "alarm-month", "rate")
    return usd


def _usd_once(deployment: DeploymentSpec, photos: PhotoSet, prices: Prices) -> float:
    """A request for each photo, or shard, that is brought into the bucket; the bytes are free."""
    _, region = prices.below(deployment.provider, deployment.region)
    n_shards = math.ceil(photos.count * photos.mean_bytes / SHARD_BYTES)
    puts = n_shards if photos.is_packed else photos.count
    return puts / 1000 * price_of(region.rate, "put-1000", "rate")


def result_bytes(calibration: Calibration) -> float:
    """Return the bytes of a photo's features and components: four a feature, and what docs/scaling.md measured."""
    beside = MEASURED.feature_bytes - 4 * 1280
    return 4 * calibration.n_features + beside + MEASURED.component_bytes


def check_budget(estimated: Estimate, max_eur: float, fitting: str = "") -> None:
    """Raise CloudError where a run may cost more; `fitting` says what would not."""
    if estimated.eur.high > max_eur:
        eur = estimated.eur
        raise CloudError(
            f"{estimated.photos.count:,} photos may cost up to {eur.high:,.2f} EUR (likely {eur.typical:,.2f}), "
            f"and {max_eur:,.2f} EUR are allowed{'; ' * bool(fitting)}{fitting}"
        )


def parse_photo_count(photos: str | float | None) -> int:
    """Return how many photos a number, or the word for one (1e6), says. Raises SettingsError."""
    try:
        count = float(photos or 0)
    except ValueError:
        count = 0
    if not 1 <= count <= MAX_PHOTOS:
        raise SettingsError("photos", photos, "how many: 22688 or 1e6")
    return round(count)


def _check(deployment: DeploymentSpec, photos: PhotoSet | None = None) -> None:
    check_engine(deployment.provider, deployment.engine)
    if photos is not None and photos.count < 1:
        raise SettingsError("photos", photos.count, "one at least")
    if photos is not None and not 0 <= photos.mean_bytes <= 1000 * MAX_PHOTO_KB:
        raise SettingsError("mean_kb", photos.mean_bytes / 1000, f"0 to {MAX_PHOTO_KB:,} kB a photo")


def _job(deployment: DeploymentSpec, photos: PhotoSet, calibration: Calibration, prices: Prices) -> Workload:
    shape = deployment.shape
    each = cores_a_worker(deployment.engine, prices.machine(shape.machine))
    n_cores = shape.peak_workers * each
    if photos.megapixels is None:
        photo_ms = calibration.photo_ms(photos.mean_bytes)
    else:
        photo_ms = calibration.photo_ms_by_pixels(photos.megapixels, photos.decode)
    return Workload(photos.count, n_cores, photo_ms, round(photos.mean_bytes), photos.is_packed)


def _spent(deployment: DeploymentSpec, job: Workload, prices: Prices, standing_h: float, case: str) -> BilledHours:
    """How long each phase takes in the best, the likely and the worst case."""
    slowness = getattr(SLOWNESS[prices.machine(deployment.shape.machine).arch], case)
    run = hours(Workload(job.n_photos, job.n_cores, job.photo_ms * slowness, job.photo_bytes, job.is_packed))
    spot = getattr(_spot(deployment, prices), case)
    if deployment.has_spot:
        run *= 1 + getattr(REDONE, case)
    idle = deployment.idle_minutes / 60 + standing_h if deployment.engine in IDLING_ENGINES else 0.0
    return BilledHours(getattr(START_MINUTES[deployment.engine], case) / 60, run, idle, spot)


def _spot(deployment: DeploymentSpec, prices: Prices) -> Range:
    """What a machine that is added costs of its price on demand."""
    if not deployment.has_spot:
        return Range(1, 1, 1)
    cloud, _ = prices.below(deployment.provider, deployment.region)
    return prices.spot_of(cloud)


def _lines(
    deployment: DeploymentSpec, job: Workload, calibration: Calibration, prices: Prices, spent: BilledHours
) -> list[Line]:
    """What the machines cost, then what the store does."""
    _, region = prices.below(deployment.provider, deployment.region)
    results_gb = job.n_photos * result_bytes(calibration) / 1e9
    key_requests = KEY_REQUESTS_A_REQUEST * (job.all_gets + job.all_puts)

    def line(what: str, quantity: float, unit: str, rate: str) -> Line:
        return Line(what, quantity, unit, price_of(region.rate, rate, "rate"))

    store = [
        line("GET", job.all_gets / 1000, "1,000 requests", "get-1000"),
        line("PUT, LIST", job.all_puts / 1000, "1,000 requests", "put-1000"),
        line("results fetched", results_gb, "GB", "out-gb"),
    ]
    if deployment.provider in HAS_KEY:
        store.append(line("key asked", key_requests / 10_000, "10,000 requests", "key-10000"))
    machines = BILLS[deployment.engine](deployment, spent, prices)
    return [line for line in [*machines, *store] if line.quantity]
