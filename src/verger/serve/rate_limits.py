"""Rate limits of photos, for each API key or address, with the headers of IETF's draft RateLimit."""

from __future__ import annotations

import math
import time
from ipaddress import ip_address, ip_network

from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from verger.serve.metrics import SHED
from verger.serve.problems import ProblemError

# An IPv6 user has at least a network of this size.
_IPV6_PREFIX = 64


class RateLimits:
    """Counts the requests of each client in a moving window, in the memory of this process.

    rate, key_rate: limits such as "60/minute" for an address and for an API key, in the service as a whole; with
    several processes each one gets its share.
    """

    def __init__(self, rate: str, key_rate: str, n_processes: int = 1) -> None:
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._by_address, self._by_key = _share(rate, n_processes), _share(key_rate, n_processes)

    def check(self, address: str, key_id: str | None, n_photos: int = 1) -> dict[str, str]:
        """Count photos and return the headers for the answer; raises ProblemError (429) above the limit."""
        limit = self._by_address if key_id is None else self._by_key
        client = _network(address) if key_id is None else key_id
        is_allowed = self._limiter.hit(limit, client, cost=min(n_photos, limit.amount))
        window = self._limiter.get_window_stats(limit, client)
        wait_s = max(1, math.ceil(window.reset_time - time.time()))
        headers = {
            "RateLimit-Policy": f'"photos";q={limit.amount};w={limit.get_expiry()}',
            "RateLimit": f'"photos";r={window.remaining};t={wait_s}',
        }
        if is_allowed:
            return headers
        SHED.labels("rate").inc()
        detail = f"more than {limit.amount} photos or requests in {limit.get_expiry()} s: try again in {wait_s} s"
        raise ProblemError(429, detail, headers=headers | {"Retry-After": str(wait_s)})


def _share(rate: str, n_processes: int) -> RateLimitItem:
    limit = parse(rate)
    return type(limit)(max(1, math.ceil(limit.amount / n_processes)), limit.multiples)


def _network(address: str) -> str:
    """Return an IPv4 address, or the network of an IPv6 address; a text that is no address as it is."""
    try:
        ip = ip_address(address)
    except ValueError:
        return address
    if ip.version == 4:
        return str(ip)
    # On a socket for both versions, IPv4 addresses arrive as ::ffff:192.0.2.1.
    return str(ip.ipv4_mapped or ip_network(f"{ip}/{_IPV6_PREFIX}", strict=False))
