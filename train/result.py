"""Write feature vectors in the format of `verger features`, for `verger train` and `verger evaluate`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from verger.kernel.networks.catalog import NetworkSpec

_SCHEMA = pa.schema([("path", pa.string()), ("label", pa.string()), ("features", pa.list_(pa.float32()))])

Row = tuple[str, str, Any]


def write_result(rows: Iterable[Row], spec: NetworkSpec, folder: Path) -> None:
    """Write (path, label, features) rows, and a manifest that names the network, into `folder`."""
    (folder / "features").mkdir(parents=True)
    columns = dict(zip(_SCHEMA.names, zip(*rows, strict=True), strict=True))
    table = pa.Table.from_pydict({name: list(values) for name, values in columns.items()}, _SCHEMA)
    pq.write_table(table, folder / "features" / "part-0.parquet")
    (folder / "manifest.json").write_text(json.dumps({"network": {"spec": asdict(spec)}}))
