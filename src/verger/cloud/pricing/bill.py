"""The bill of each engine: the machines, disks and fees that cost money. One function per engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from verger.cloud.deploy.provider import DeploymentSpec, Shape
from verger.cloud.pricing.prices import Machine, Prices, Region, price_of

HOURS_A_MONTH = 730
MINIMUM_H = 1 / 60  # EMR, EMR Serverless and Dataproc bill by the second, with a minimum of one minute

# By default EMR gives a machine 16 GB of disk per vCPU (64 GB for an xlarge, 128 GB for a 2xlarge; source:
# docs.aws.amazon.com/emr, default EBS storage), and a root disk (infra/aws/emr.tf). Other clouds: 100 GB, assumed.
EMR_DISK_GB_A_VCPU, EMR_ROOT_GB, DISK_GB = 16, 40, 100

# One interface endpoint, to KMS, in one zone (infra/aws/network.tf). It exists until `verger cloud down`, even
# while no machine runs. The endpoint to S3 is free.
ENDPOINTS = 1

# Size of workers and drivers of the serverless engines (infra/aws/serverless.tf, gcp/requests.py), regardless of
# the machine in the shape. On AWS, 20 GB of disk are free for each worker and driver.
SERVERLESS_VCPUS, SERVERLESS_GB = 4, 16

# Number of Google's data compute units (DCU) per vCPU and GB of a batch's worker, and its default shuffle disk.
DCU_A_VCPU, DCU_A_GB, SHUFFLE_GB_A_VCPU = 0.6, 0.1, 100


@dataclass(frozen=True)
class Line:
    """One line of a bill, in US dollars."""

    what: str
    quantity: float
    unit: str
    usd_a_unit: float

    @property
    def usd(self) -> float:
        """The amount of this line."""
        return self.quantity * self.usd_a_unit


@dataclass(frozen=True)
class BilledHours:
    """Hours that are billed.

    start: hours until the first task. run: hours from the first task to the result. idle: hours from the result
    until the machines end. spot: price of spot machines as a fraction of the price on demand.
    """

    start: float
    run: float
    idle: float
    spot: float

    @property
    def up(self) -> float:
        """Hours of machines that end after their idle time, not with the job."""
        return max(self.start + self.run + self.idle, MINIMUM_H)

    @property
    def working(self) -> float:
        """Hours of machines that end with the job; 0 if there is no job."""
        return max(self.start + self.run, MINIMUM_H) if self.run else 0.0


def emr(spec: DeploymentSpec, billed_hours: BilledHours, prices: Prices) -> list[Line]:
    """Return the bill of EMR on EC2: machines, EMR's fee for each machine, disks, the endpoint."""
    region = prices.region(spec.provider, spec.region)
    billed = _machine_hours(spec.shape, billed_hours.up, billed_hours.run)
    disk_gb_h = sum(
        billed[name] * (EMR_ROOT_GB + EMR_DISK_GB_A_VCPU * prices.machine(name).vcpus) for name in billed
    )
    return [
        *_machine_lines(spec.shape, region, billed_hours.up, billed_hours),
        *(
            Line(f"EMR for {name}", billed[name], "hour", price_of(region.emr, name, "EMR on machine"))
            for name in billed
        ),
        _disk_line(disk_gb_h, region),
        _endpoint_line(billed_hours.up, region),
    ]


def serverless(spec: DeploymentSpec, billed_hours: BilledHours, prices: Prices) -> list[Line]:
    """Return the bill of EMR Serverless: vCPUs and GB of driver and workers, priced by the processor."""
    region = prices.region(spec.provider, spec.region)
    worker_h = _worker_hours(spec.shape, billed_hours)
    arch = prices.machine(spec.shape.machine).arch

    def line(what: str, quantity: float, unit: str, rate: str) -> Line:
        return Line(what, quantity, unit, price_of(region.rate, f"{rate}-{arch}", "rate"))

    return [
        line("vCPUs of workers", SERVERLESS_VCPUS * worker_h, "vCPU and hour", "serverless-vcpu"),
        line("memory of workers", SERVERLESS_GB * worker_h, "GB and hour", "serverless-gb"),
        _endpoint_line(billed_hours.up, region),
    ]


def dataproc(spec: DeploymentSpec, billed_hours: BilledHours, prices: Prices) -> list[Line]:
    """Return the bill of Dataproc on Compute Engine: machines, a fee per vCPU, disks."""
    region = prices.region(spec.provider, spec.region)
    billed = _machine_hours(spec.shape, billed_hours.up, billed_hours.run)
    vcpu_h = sum(billed[name] * prices.machine(name).vcpus for name in billed)
    return [
        *_machine_lines(spec.shape, region, billed_hours.up, billed_hours),
        Line("Dataproc", vcpu_h, "vCPU and hour", price_of(region.rate, "dataproc-vcpu", "rate")),
        _disk_line(sum(billed.values()) * DISK_GB, region),
    ]


def batch(spec: DeploymentSpec, billed_hours: BilledHours, prices: Prices) -> list[Line]:
    """Return the bill of Dataproc Serverless: data compute units of driver and workers, and their disks."""
    region = prices.region(spec.provider, spec.region)
    worker_h = _worker_hours(spec.shape, billed_hours)
    shuffled = worker_h * SERVERLESS_VCPUS * SHUFFLE_GB_A_VCPU / HOURS_A_MONTH
    dcu_h = worker_h * (DCU_A_VCPU * SERVERLESS_VCPUS + DCU_A_GB * SERVERLESS_GB)
    return [
        Line("batch", dcu_h, "DCU and hour", price_of(region.rate, "batch-dcu", "rate")),
        Line("disks", shuffled, "GB and month", price_of(region.rate, "batch-shuffle-gb-month", "rate")),
    ]


def databricks_job(spec: DeploymentSpec, billed_hours: BilledHours, prices: Prices) -> list[Line]:
    """Return the bill of a Databricks job: Databricks units, and another cloud's machines and disks."""
    _, region = prices.below(spec.provider, spec.region)
    own = prices.region(spec.provider, spec.region)
    billed = _machine_hours(spec.shape, billed_hours.working, billed_hours.run)
    units = sum(billed[name] * _dbu(prices.machine(name)) for name in billed)
    return [
        *_machine_lines(spec.shape, region, billed_hours.working, billed_hours),
        Line("Databricks", units, "DBU", price_of(own.rate, "dbu", "rate")),
        _disk_line(sum(billed.values()) * DISK_GB, region),
    ]


BILLS: dict[str, Callable[[DeploymentSpec, BilledHours, Prices], list[Line]]] = {
    "emr": emr,
    "serverless": serverless,
    "dataproc": dataproc,
    "batch": batch,
    "job": databricks_job,
}


def standing_lines(spec: DeploymentSpec, hours: float, prices: Prices) -> list[Line]:
    """Return the lines that are billed from `up` to `down` even without machines: on AWS, the endpoint."""
    if spec.provider != "aws":
        return []
    return [_endpoint_line(hours, prices.region(spec.provider, spec.region))]


def _machine_hours(shape: Shape, up: float, run: float) -> dict[str, float]:
    """Return the sum of the hours of each machine type.

    The primary machine and the permanent workers have `up` hours each, added workers `run` hours.
    """
    billed = {shape.primary: up}
    billed[shape.machine] = billed.get(shape.machine, 0.0) + shape.workers * up + _added(shape) * run
    return billed


def _machine_lines(shape: Shape, region: Region, up: float, billed_hours: BilledHours) -> list[Line]:
    share = billed_hours.spot if shape.spot else 1.0
    usd = price_of(region.machine, shape.machine, "machine")
    primary_usd = price_of(region.machine, shape.primary, "machine")
    kind = "added, spot" if shape.spot else "added"
    return [
        Line(f"primary {shape.primary}", up, "hour", primary_usd),
        Line(f"workers {shape.machine}", shape.workers * up, "hour", usd),
        Line(f"{kind} {shape.machine}", _added(shape) * billed_hours.run, "hour", usd * share),
    ]


def cores_a_worker(engine: str, machine: Machine) -> int:
    """Return the number of tasks that a worker runs at the same time."""
    return SERVERLESS_VCPUS if engine in ("serverless", "batch") else machine.vcpus


def _worker_hours(shape: Shape, billed_hours: BilledHours) -> float:
    """Return the sum of the hours of the driver and all workers; they exist only during the job."""
    return (1 + shape.peak_workers) * billed_hours.working


def _added(shape: Shape) -> int:
    return shape.peak_workers - shape.workers


def _dbu(machine: Machine) -> float:
    return machine.dbu if machine.dbu is not None else 0.69 * machine.vcpus / 4


def _disk_line(gb_hours: float, region: Region) -> Line:
    return Line("disks", gb_hours / HOURS_A_MONTH, "GB and month", price_of(region.rate, "disk-gb-month", "rate"))


def _endpoint_line(hours: float, region: Region) -> Line:
    return Line("endpoint", ENDPOINTS * hours, "hour", price_of(region.rate, "endpoint-hour", "rate"))
