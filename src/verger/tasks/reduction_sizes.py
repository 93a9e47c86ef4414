"""Into what the reduction is cut: partial sums, merged in a tree, and parts of components.

The cuts depend on the number of rows and their width alone, see docs/adr/0017-same-bits.md; `verger cost` uses
them for its estimates.
"""

from __future__ import annotations

import math

# Number of partial results that a task merges; the driver merges the last ones.
FAN_IN = 8

# Rows of one matrix product of the projection: a fixed number, so that the same rows give the same bits.
PROJECTED_ROWS = 1024

# Rows of a block, summed by one matrix product, fill about this in float64.
_BLOCK_BYTES = 32 << 20
_MOST_BLOCK_ROWS = 65_536
_MAX_PARTIAL_SUMS = 4096
_ROWS_A_PART = 4 * PROJECTED_ROWS
_MAX_PARTS = 20_000


def rows_per_block(n_features: int) -> int:
    """Return how many rows make a block of vectors of this length."""
    return max(64, min(_MOST_BLOCK_ROWS, _BLOCK_BYTES // (8 * max(n_features, 1))))


def rows_per_sum(n_rows: int, n_features: int) -> int:
    """Return how many rows go into a partial sum: whole blocks, and at most 4,096 sums."""
    rows = rows_per_block(n_features)
    return rows * max(1, math.ceil(n_rows / rows / _MAX_PARTIAL_SUMS))


def rows_per_part(n_rows: int) -> int:
    """Return how many rows go into a part of the components: at most 20,000 parts."""
    return max(_ROWS_A_PART, PROJECTED_ROWS * math.ceil(n_rows / PROJECTED_ROWS / _MAX_PARTS))


def tree_depth(n_parts: int) -> int:
    """Return how often `n_parts` partial results are merged by eights until the driver merges the rest."""
    depth = 0
    while n_parts > FAN_IN:
        n_parts, depth = math.ceil(n_parts / FAN_IN), depth + 1
    return depth
