"""A table of prices so round that a bill can be worked out in the head."""

from __future__ import annotations

from verger.cloud.pricing.prices import Prices

_SOURCE = {"source": "us"}

TABLE = {
    "read": "2026-01-01",
    "eur_per_usd": 0.5,
    "eur_read": "2026-01-01",
    "sources": {"us": {"page": "tests", "sure": "verified"}},
    "machines": {
        "small": {"vcpus": 1, "gib": 4, "arch": "x86_64", "dbu": 1},
        "big": {"vcpus": 4, "gib": 16, "arch": "x86_64", "dbu": 2},
        "arm": {"vcpus": 4, "gib": 16, "arch": "aarch64", "dbu": 2},
    },
    "spot": {
        "aws": {"low": 0.25, "typical": 0.5, "high": 0.75},
        "gcp": {"low": 0.25, "typical": 0.5, "high": 0.75},
    },
    "regions": {
        "aws": {
            "eu-west-3": {
                "machine": {name: {"usd": usd} | _SOURCE for name, usd in {"small": 1, "big": 4, "arm": 4}.items()},
                "emr": {
                    name: {"usd": usd} | _SOURCE for name, usd in {"small": 0.1, "big": 0.4, "arm": 0.4}.items()
                },
                "rate": {
                    name: {"usd": usd} | _SOURCE
                    for name, usd in {
                        "serverless-vcpu-x86_64": 0.1,
                        "serverless-gb-x86_64": 0.01,
                        "serverless-vcpu-aarch64": 0.08,
                        "serverless-gb-aarch64": 0.008,
                        "disk-gb-month": 0.73,  # a thousandth of a dollar a GB and hour
                        "endpoint-hour": 0.01,
                        "store-gb-month": 0.02,
                        "put-1000": 0.005,
                        "get-1000": 0.0005,
                        "key-month": 1,
                        "key-10000": 0.03,
                        "alarm-month": 0.1,
                        "out-gb": 0.1,
                    }.items()
                },
            }
        },
        "gcp": {
            "europe-west9": {
                "machine": {name: {"usd": usd} | _SOURCE for name, usd in {"small": 1, "big": 4}.items()},
                "rate": {
                    name: {"usd": usd} | _SOURCE
                    for name, usd in {
                        "dataproc-vcpu": 0.01,
                        "batch-dcu": 0.1,
                        "batch-shuffle-gb-month": 0.0073,  # a cent of a thousand GB and hours
                        "disk-gb-month": 0.073,
                        "store-gb-month": 0.02,
                        "put-1000": 0.005,
                        "get-1000": 0.0005,
                        "out-gb": 0.1,
                    }.items()
                },
            }
        },
        "databricks": {"eu-west-3": {"rate": {"dbu": {"usd": 0.2} | _SOURCE}}},
    },
}

PRICES = Prices.model_validate(TABLE)
