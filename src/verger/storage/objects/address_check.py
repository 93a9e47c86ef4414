"""Check endpoints and regions: with a malformed one obstore panics, which is not an Exception in Python."""

from __future__ import annotations

import re
from ipaddress import ip_address
from urllib.parse import urlsplit

from verger.errors import SettingsError

_URL = re.compile(r"https?://[\w:/?#\[\]@!$&'()*+,;=.~%-]+", re.ASCII | re.IGNORECASE)
_HOST = re.compile(r"[\w.:-]+", re.ASCII)
_REGION = re.compile(r"[\w.-]+", re.ASCII)


def check_endpoint(key: str, url: str) -> str:
    """Return the URL of an endpoint; raises SettingsError unless it has http or https, and a host.

    key: the variable that contains the URL.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
        host = parts.hostname or ""
        if ":" in host or host.rpartition(".")[2].isdigit():
            ip_address(host)
    except ValueError:  # the port is no number up to 65535, a bracket is missing, or the IP address is invalid
        host = ""
    if not _URL.fullmatch(url) or not _HOST.fullmatch(host):
        raise SettingsError(key, url, "a URL such as https://storage.example.eu or http://localhost:9000")
    return url


def check_region(key: str, region: str) -> str:
    """Return a region; raises SettingsError if it is not a single word. key: the variable that contains it."""
    if not _REGION.fullmatch(region):
        raise SettingsError(key, region, "a region such as eu-west-3")
    return region
