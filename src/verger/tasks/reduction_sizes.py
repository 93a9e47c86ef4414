"""The number of rows in a block, in a partial sum and in a part of the components; the depth of the merge tree.

The sizes depend only on the number of rows and their width, so that all engines give the same bits
(docs/adr/0017-same-bits.md). `verger cost` uses them for its estimates.
"""

from __future__ import annotations

import math

# Number of partial results that one task merges; the driver merges the last ones.
FAN_IN = 8

# Rows per matrix product of the projection; fixed, so that the same rows give the same bits.
PROJECTED_ROWS = 1024

# Approximate size of a block in float64. One matrix product sums one block.
_BLOCK_BYTES = 32 << 20
_MAX_BLOCK_ROWS = 65_536
_MAX_PARTIAL_SUMS = 4096
_BLOCKS_PER_CLASS_SUM = 16
_MIN_CLASS_SUMS = 16
_MIN_ROWS_PER_PART = 4 * PROJECTED_ROWS
_MAX_PARTS = 20_000


def rows_per_block(n_features: int) -> int:
    """Return the number of rows in a block of vectors with `n_features` numbers."""
    return max(64, min(_MAX_BLOCK_ROWS, _BLOCK_BYTES // (8 * max(n_features, 1))))


def rows_per_sum(n_rows: int, n_features: int) -> int:
    """Return the number of rows per partial sum: whole blocks, such that there are at most 4,096 partial sums."""
    rows = rows_per_block(n_features)
    return rows * max(1, math.ceil(n_rows / rows / _MAX_PARTIAL_SUMS))


def rows_per_class_sum(n_rows: int, n_features: int) -> int:
    """Return the number of rows per sum of class moments: whole blocks.

    A sum has one matrix for each fold of the cross-validation; to write these takes as long as to compute a few
    blocks. So a sum covers 16 blocks, or fewer if there would be fewer than 16 sums.
    """
    n_blocks = math.ceil(n_rows / rows_per_block(n_features))
    n_each = max(1, min(_BLOCKS_PER_CLASS_SUM, n_blocks // _MIN_CLASS_SUMS))
    return rows_per_block(n_features) * max(n_each, math.ceil(n_blocks / _MAX_PARTIAL_SUMS))


def rows_per_part(n_rows: int) -> int:
    """Return the number of rows in a part of the components, such that there are at most 20,000 parts."""
    return max(_MIN_ROWS_PER_PART, PROJECTED_ROWS * math.ceil(n_rows / PROJECTED_ROWS / _MAX_PARTS))


def tree_depth(n_parts: int) -> int:
    """Return the number of merge rounds for `n_parts` results; a round divides the number of results by FAN_IN."""
    depth = 0
    while n_parts > FAN_IN:
        n_parts, depth = math.ceil(n_parts / FAN_IN), depth + 1
    return depth
