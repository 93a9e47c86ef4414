"""Admission of requests: one that would wait longer than its deadline is refused at once."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

# A request is admitted if its expected time is at most this share of the deadline, because times vary.
_SHARE_OF_DEADLINE = 0.7
# Weight of the latest photo in the mean time of a photo.
_WEIGHT = 0.1


class OverloadedError(Exception):
    """The service has too much work; a request may be sent again after `retry_after_s` seconds."""

    def __init__(self, retry_after_s: int, cause: str = "too many photos are waiting") -> None:
        super().__init__(f"{cause}: try again in {retry_after_s} s")
        self.retry_after_s = retry_after_s


class Admission:
    """Counts the photos that wait or are computed, and estimates how long another one would take.

    n_servers: photos that are computed at the same time. photo_s: the expected time of a photo, in seconds, until
    photos have been measured. Only the thread of the event loop may use it.
    """

    def __init__(self, n_servers: int, deadline_s: float, photo_s: float) -> None:
        self._n_servers, self._limit_s = n_servers, deadline_s * _SHARE_OF_DEADLINE
        self._photo_s = photo_s
        self.n_photos = 0

    def expected_s(self, n_photos: int) -> float:
        """Return the expected time from now until `n_photos` more photos are computed, in seconds."""
        return math.ceil((self.n_photos + n_photos) / self._n_servers) * self._photo_s

    @contextmanager
    def admit(self, n_photos: int) -> Iterator[None]:
        """Count photos while they are in the service; raises OverloadedError if they would wait too long.

        A request that finds the service idle is always admitted.
        """
        excess_s = self.expected_s(n_photos) - self._limit_s
        if self.n_photos and excess_s > 0:
            raise OverloadedError(math.ceil(excess_s))
        self.n_photos += n_photos
        try:
            yield
        finally:
            self.n_photos -= n_photos

    def record(self, photo_s: float) -> None:
        """Record how long the slower stage of one photo took, in seconds."""
        self._photo_s += _WEIGHT * (photo_s - self._photo_s)
