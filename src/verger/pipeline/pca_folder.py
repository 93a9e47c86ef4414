"""Read and write a fitted PCA in the folder layout of pyspark.ml, without Spark."""

from __future__ import annotations

import io
import json
import time
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq

from verger.errors import ReductionError
from verger.kernel.moments import Moments
from verger.kernel.pca import Projection
from verger.storage.arrow import binaries
from verger.storage.parquet import open_parquet
from verger.storage.table_files import parquet_files
from verger.storage.uri import AnyPath

_CLASS = "verger.spark_ml.pca_stage.PCAModel"
_DEFAULTS = {"inputCol": "features", "outputCol": "components", "standardize": False}
# The oldest supported version of Spark; later versions can read its metadata.
_FORMAT_OF_SPARK = "3.5.0"


def read_projection(model_folder: AnyPath) -> Projection:
    """Read the projection of a saved PCAModel; raises ReductionError if the folder holds no PCAModel."""
    for file in parquet_files(model_folder / "data"):
        with open_parquet(file) as table:
            if "projection" in table.schema_arrow.names and table.metadata.num_rows:
                stored = table.read(columns=["projection"])["projection"]
                return Projection.from_bytes(stored[0].as_py())
    raise ReductionError(f"{model_folder} holds no PCA: expected model/pca of a result of `verger run`")


def write_pca_model(folder: AnyPath, projection: Projection, moments: Moments | None) -> None:
    """Write a folder that `verger.spark_ml.pca_stage.PCAModel.load` can read."""
    uid = f"PCAModel_{uuid4().hex[-12:]}"
    metadata = {
        "class": _CLASS,
        "timestamp": round(time.time() * 1000),
        "sparkVersion": _FORMAT_OF_SPARK,
        "uid": uid,
        "paramMap": {},
        "defaultParamMap": _DEFAULTS,
    }
    line = json.dumps(metadata, separators=(",", ":")) + "\n"
    _write_table(folder / "metadata", "part-00000", line.encode())
    _write_table(folder / "data", "part-00000.parquet", _parquet(projection, moments))


def _write_table(folder: AnyPath, name: str, content: bytes) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)
    (folder / "_SUCCESS").write_bytes(b"")


def _parquet(projection: Projection, moments: Moments | None) -> bytes:
    arrays = [binaries([projection.to_bytes()]), binaries([moments.to_bytes() if moments else None])]
    table = pa.Table.from_arrays(arrays, ["projection", "moments"])
    with io.BytesIO() as file:
        # The two values are large, and compression would hardly make them smaller.
        pq.write_table(table, file, compression="none", use_dictionary=False, write_statistics=False)
        return file.getvalue()
