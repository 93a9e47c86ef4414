"""The fingerprint of features: `--resume` reuses features only if their fingerprint is the same."""

from __future__ import annotations

import hashlib
from typing import Any

from verger.errors import ResultError
from verger.kernel.decode import DECODER_VERSION
from verger.kernel.networks.network import Network
from verger.kernel.networks.view_sets import view_set_name
from verger.storage.manifest import Manifest, find_manifest
from verger.storage.uri import AnyPath

# Settings (in addition to those of the network) on which features depend, and the packages that convert networks.
_SETTINGS = ("max_megapixels", "decode", "device")
_VERSIONS = ("keras", "openvino")
# The version of the decoder that made results whose manifest does not name it.
_FIRST_DECODER = 1


def fingerprint(network: Network, max_pixels: int, decode: str = "exact") -> str:
    """Return a hash of everything on which the features of a photo depend."""
    text = f"{network.key} {max_pixels} {decode} {DECODER_VERSION}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def fingerprint_of_result(manifest: Manifest) -> str | None:
    """Return the fingerprint in the manifest of a result; None if the manifest has none."""
    return manifest.text("network", "fingerprint")


def check_reusable(out: AnyPath, manifest: Manifest) -> None:
    """Raise ResultError if the features of the result at `out` have another fingerprint than `manifest`.

    The run would drop these features, and features of photos that no longer exist cannot be computed again.
    """
    earlier = find_manifest(out)
    n_features = earlier.counts.get("features", 0) if earlier is not None else 0
    if earlier is None or not n_features or fingerprint_of_result(earlier) == fingerprint_of_result(manifest):
        return
    raise ResultError(
        f"{out} holds {n_features:,} features made with other settings or versions "
        f"({_differences(earlier, manifest)}), which --resume cannot reuse: "
        "add --overwrite to compute everything again, or choose another folder"
    )


def _differences(earlier: Manifest, current: Manifest) -> str:
    """Return the settings that differ between two manifests; if none differs, the weights, then the versions."""
    for values_of in (_settings_of, _weights_of, _versions_of):
        before, after = values_of(earlier), values_of(current)
        names = [name for name, value in after.items() if name not in before or before[name] != value]
        if names:
            return ", ".join(f"{name} = {before.get(name, 'unknown')} then, {after[name]} now" for name in names)
    return f"verger {earlier.verger or 'of an unknown version'}"


def _settings_of(manifest: Manifest) -> dict[str, Any]:
    """Return the settings on which features depend, and the version of the decoder."""
    settings = {name: manifest.settings[name] for name in _SETTINGS if name in manifest.settings}
    decoder = int(manifest.number("network", "decoder") or _FIRST_DECODER)
    spec = manifest.section("network", "spec")
    views = {"views": view_set_name(spec["views"])} if "views" in spec else {}
    return {**spec, **views, **settings, "decoder": decoder}


def _weights_of(manifest: Manifest) -> dict[str, Any]:
    """Return the hash of the weights: a file of weights may have the same name but other content."""
    network = manifest.section("network")
    return {name: network[name] for name in ("weights_sha256",) if name in network}


def _versions_of(manifest: Manifest) -> dict[str, Any]:
    return {name: manifest.versions[name] for name in _VERSIONS if name in manifest.versions}
