"""A simulator of AWS' policies, which comes by npm: does a policy let a request pass?"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from verger.storage.atomic import fill_atomically
from verger.storage.cache import cache_dir

ACCOUNT = "123456789012"

_HERE = Path(__file__).parent
_FILES = ("package.json", "package-lock.json", "simulate.mjs")
_ALL = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
# A key's own policy must let IAM decide, as that of infra/aws/key.tf does.
_BY_IAM = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
            "Action": "kms:*",
            "Resource": "*",
        }
    ],
}

Policy = Mapping[str, Any]


@dataclass(frozen=True)
class Request:
    """Somebody wants to do something; where AWS knows a thing more of it, its key and value are `known`."""

    action: str
    resource: str
    known: tuple[str, str] | None = None


def can_be_had() -> bool:
    """Tell whether this machine has Node.js and its package manager."""
    return all(map(shutil.which, ("node", "npm")))


def is_allowed(
    requests: Sequence[Request], policies: Sequence[Policy] = (_ALL,), guard: Policy = _ALL
) -> dict[Request, bool]:
    """Return for each request whether a role with these policies may do it below this guard of its organization."""
    asked = [_simulation(request, policies, guard) for request in requests]
    words = ["node", str(_fetched() / "simulate.mjs")]
    done = subprocess.run(words, input=json.dumps(asked), check=True, capture_output=True, text=True)
    told = json.loads(done.stdout)
    odd = [each for each in told if each not in ("Allowed", "ImplicitlyDenied", "ExplicitlyDenied")]
    assert not odd, odd
    return {request: each == "Allowed" for request, each in zip(requests, told, strict=True)}


def _simulation(request: Request, policies: Sequence[Policy], guard: Policy) -> dict[str, object]:
    return {
        "request": {
            "principal": f"arn:aws:iam::{ACCOUNT}:role/orchard",
            "action": request.action,
            "resource": {"resource": request.resource, "accountId": ACCOUNT},
            "contextVariables": dict([request.known] if request.known else []),
        },
        "identityPolicies": [{"name": f"p{number}", "policy": policy} for number, policy in enumerate(policies)],
        "serviceControlPolicies": [
            {
                "orgIdentifier": "o-1",
                "policies": [{"name": "all", "policy": _ALL}, {"name": "guard", "policy": guard}],
            }
        ],
        "resourceControlPolicies": [],
        **({"resourcePolicy": _BY_IAM} if request.action.startswith("kms:") else {}),
    }


def _fetched() -> Path:
    version = hashlib.sha256(b"".join((_HERE / name).read_bytes() for name in _FILES)).hexdigest()[:16]
    folder = cache_dir() / f"iam-simulate-{version}"
    if not folder.is_dir():
        with fill_atomically(folder) as temporary:
            for name in _FILES:
                shutil.copy(_HERE / name, temporary)
            words = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
            subprocess.run(words, cwd=temporary, check=True, capture_output=True)
    return folder
