"""The tables between the stages, as Spark DDL.

They are strings, so that whoever must not need Spark can read them too.
"""

from __future__ import annotations

LISTING = "path string, modificationTime timestamp, length long, label string"
IMAGES = "path string, modificationTime timestamp, length long, content binary, label string"
# A listing of a run that resumes: where in an earlier one's tables the vector lies (`featurize.known`).
MARKED_LISTING = f"{LISTING}, earlier long"
# What `verger pack` writes; `metadata` says what became of a photo's: see ingest.images.
PACKED = f"{IMAGES}, metadata string"
FEATURES = "path string, label string, sha256 string, width int, height int, features array<float>"
REJECTED = "path string, length long, reason string, detail string"
COMPONENTS = "path string, label string, components array<float>"

# What featurizing adds to a row; `features` is null exactly where `reason` is not.
OUTCOME = "sha256 string, width int, height int, features array<float>, reason string, detail string"


def columns(ddl: str) -> list[str]:
    """Return the column names of a flat DDL schema."""
    return list(types(ddl))


def types(ddl: str) -> dict[str, str]:
    """Return name -> type of a flat DDL schema."""
    return dict(field.split() for field in ddl.split(", "))
