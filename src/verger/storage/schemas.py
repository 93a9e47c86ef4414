"""Schemas of the tables, as pyarrow schemas. Spark's DDL is derived from these schemas."""

from __future__ import annotations

import pyarrow as pa

_VECTOR = pa.list_(pa.float32())

LISTING = pa.schema(
    [
        ("path", pa.string()),
        ("modificationTime", pa.timestamp("us", tz="UTC")),
        ("length", pa.int64()),
        ("label", pa.string()),
    ]
)
# Additional columns in a listing of packed photos: the Parquet file with a photo's bytes, and the row in this file.
SHARD, ROW = "shard", "row"
PACKED_LISTING = pa.schema([*LISTING, (SHARD, pa.string()), (ROW, pa.int64())])

IMAGES = pa.schema([*list(LISTING)[:3], ("content", pa.binary()), ("label", pa.string())])
# Table of `verger pack`. The column `metadata` states what was done with a photo's metadata, see tasks.pack.
PACKED = pa.schema([*IMAGES, ("metadata", pa.string())])

FEATURES = pa.schema(
    [
        ("path", pa.string()),
        ("label", pa.string()),
        ("sha256", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("features", _VECTOR),
    ]
)
REJECTED = pa.schema(
    [("path", pa.string()), ("length", pa.int64()), ("reason", pa.string()), ("detail", pa.string())]
)
COMPONENTS = pa.schema([("path", pa.string()), ("label", pa.string()), ("components", _VECTOR)])

# Columns that `ImageFeaturizer` adds to a row; either `features` or `reason` is null.
OUTCOME = pa.schema([*list(FEATURES)[2:], ("reason", pa.string()), ("detail", pa.string())])

_SPARK_TYPES = {
    pa.string(): "string",
    pa.int32(): "int",
    pa.int64(): "long",
    pa.binary(): "binary",
    pa.timestamp("us", tz="UTC"): "timestamp",
    _VECTOR: "array<float>",
}


def spark_type(kind: pa.DataType) -> str:
    """Return Spark's name of a column type."""
    return _SPARK_TYPES[kind]


def ddl(schema: pa.Schema) -> str:
    """Return a schema as Spark DDL: `path string, label string`."""
    return ", ".join(f"{field.name} {spark_type(field.type)}" for field in schema)
