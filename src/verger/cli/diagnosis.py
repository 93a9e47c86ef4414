"""Examine what verger needs of this machine; each finding says how to fix it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

import psutil

from verger.engine.spark.java import MIN_VERSION, class_archive, find_java
from verger.kernel.networks.network import imagenet_file
from verger.storage.cache import cache_dir

MIN_MEMORY_GB = 4

_FAST_CPU_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")


@dataclass(frozen=True)
class Finding:
    """One line of the examination; a remedy on a line that is well is a hint."""

    what: str
    found: str
    is_well: bool = True
    remedy: str = ""


def examine() -> list[Finding]:
    """Return the findings: processor, memory, disk, weights; then Spark and Java, for the Spark engine alone."""
    return [_openvino(), _cpu(), _memory(), _disk(), _weights(), _spark(), _java()]


def _spark() -> Finding:
    try:
        found = version("pyspark")
    except PackageNotFoundError:
        return Finding("Spark", "none: the local engine does without", True, "pip install 'verger[spark]'")
    is_known = (3, 5) <= tuple(int(part) for part in found.split(".")[:2]) < (4, 2)
    return Finding("Spark", f"pyspark {found}", is_known, "" if is_known else "pip install 'pyspark>=3.5,<4.2'")


def _java() -> Finding:
    if find_spec("pyspark") is None:
        return Finding("Java", "not looked for: only Spark needs it")
    java = find_java()
    if java is None:
        how = f"pip install 'verger[java]', or install Java {MIN_VERSION} or newer"
        return Finding("Java", "none: only the Spark engine needs it", False, how)
    remedy = "" if class_archive().is_file() else "verger warm-up: Spark then starts in half the time"
    return Finding("Java", f"{java.version} from {java.origin}: {java.home}", True, remedy)


def _openvino() -> Finding:
    if find_spec("openvino") is None:
        return Finding("OpenVINO", "none", False, "pip install openvino")
    return Finding("OpenVINO", version("openvino"))


def _cpu() -> Finding:
    n_cores = len(os.sched_getaffinity(0))
    flags = _cpu_flags()
    fast = [flag for flag in _FAST_CPU_FLAGS if flag in flags]
    found = f"{n_cores} cores, {' '.join(fast) or 'no vector extensions known'}"
    if flags and "avx2" not in flags:
        return Finding("processor", found, True, "without AVX2 inference is several times slower")
    bf16 = "avx512_bf16" in flags or "amx_bf16" in flags
    return Finding("processor", found, True, "" if bf16 else "no bf16 here: --precision bf16 gains nothing")


def _cpu_flags() -> set[str]:
    try:
        with open("/proc/cpuinfo") as lines:
            return next((set(line.split()) for line in lines if line.startswith("flags")), set())
    except OSError:
        return set()


def _memory() -> Finding:
    total_gb = psutil.virtual_memory().total / 1e9
    remedy = "" if total_gb >= MIN_MEMORY_GB else "use fewer processes: --workers 1"
    return Finding("memory", f"{total_gb:.1f} GB", total_gb >= MIN_MEMORY_GB, remedy)


def _disk() -> Finding:
    folder = cache_dir()
    folder.mkdir(parents=True, exist_ok=True)
    is_writable = os.access(folder, os.W_OK)
    free_gb = psutil.disk_usage(str(folder)).free / 1e9
    remedy = "" if is_writable else "point VERGER_CACHE at a folder you may write"
    return Finding("cache", f"{folder}, {free_gb:.0f} GB free", is_writable, remedy)


def _weights() -> Finding:
    file = imagenet_file()
    if file.is_file():
        return Finding("ImageNet weights", str(file.parent))
    hint = f"--model MobileNetV2 downloads them once, or put {file.name} into {file.parent}"
    return Finding("ImageNet weights", "not in Keras' cache: verger uses its own fruitnet", True, hint)
