"""The bucket and the credentials of the S3 servers in the tests."""

from __future__ import annotations

BUCKET = "orchard"
KEY_ID = "test-key"
SECRET = "not-to-be-seen-anywhere"
REGION = "eu-west-3"


def s3_environment(endpoint: str) -> dict[str, str]:
    """Return the environment variables of clients of a server."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": KEY_ID,
        "AWS_SECRET_ACCESS_KEY": SECRET,
    }
