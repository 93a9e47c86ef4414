"""The checks of `verger doctor`: whether this machine has all that verger needs, and how to fix problems."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec

import psutil

from verger.cli.environment import unknown_variables
from verger.engine.spark.installation import check_pyspark, find_pyspark
from verger.engine.spark.java import MIN_VERSION, class_archive, find_java, java_problems, max_version
from verger.engine.spark.launch_environment import find_leftovers
from verger.errors import SetupError
from verger.kernel.networks.network import imagenet_file
from verger.storage.cache import CACHE_VARIABLE, cache_dir

MIN_MEMORY_GB = 4

_FAST_CPU_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")


@dataclass(frozen=True)
class Check:
    """The result of one check. fix: how to fix the problem; if the check is ok, a hint or an empty text."""

    name: str
    result: str
    is_ok: bool = True
    fix: str = ""


def check_machine() -> list[Check]:
    """Check OpenVINO, processor, memory, disk and weights, and, for the Spark engine, Spark and Java."""
    return [_openvino(), _cpu(), _memory(), _disk(), _weights(), _spark(), _java(), *_variables()]


def _spark() -> Check:
    found = find_pyspark()
    if found is None:
        return Check("Spark", "none: the local engine does not need it", True, "pip install 'verger[spark]'")
    try:
        check_pyspark(found)
    except SetupError as error:
        return Check("Spark", f"pyspark {found.version}", False, str(error))
    return Check("Spark", f"pyspark {found.version}")


def _java() -> Check:
    if find_pyspark() is None:
        return Check("Java", "not checked: only Spark needs it")
    java = find_java()
    problems = "; ".join(java_problems())
    if java is None:
        fix = f"pip install 'verger[java]', or install a Java from {MIN_VERSION} to {max_version()}"
        return Check("Java", problems or "none: only the Spark engine needs it", False, fix)
    hint = "" if class_archive(java).is_file() else "`verger warm-up` halves the start time of Spark"
    if problems:
        hint = f"not used: {problems}; this Spark needs Java {MIN_VERSION} to {max_version()}"
    return Check("Java", f"{java.version} from {java.origin}: {java.home}", True, hint)


def _variables() -> list[Check]:
    """Return a check for each environment variable that is misspelt or left over from another Spark."""
    checks = [Check("variables", name, False, advice) for name, advice in unknown_variables().items()]
    if find_pyspark() is not None:
        leftovers = find_leftovers(is_local=True)
        checks += [Check("variables", leftover.name, True, f"ignored: {leftover.note}") for leftover in leftovers]
    if remote := os.environ.get("SPARK_REMOTE"):
        checks.append(Check("variables", "SPARK_REMOTE", False, f"unset it, or use --master {remote}"))
    return checks


def _openvino() -> Check:
    if find_spec("openvino") is None:
        return Check("OpenVINO", "none", False, "pip install openvino")
    return Check("OpenVINO", version("openvino"))


def _cpu() -> Check:
    n_cores = len(os.sched_getaffinity(0))
    flags = _cpu_flags()
    fast = [flag for flag in _FAST_CPU_FLAGS if flag in flags]
    result = f"{n_cores} cores, {' '.join(fast) or 'no vector extensions known'}"
    if flags and "avx2" not in flags:
        return Check("processor", result, True, "inference is several times slower without AVX2")
    bf16 = "avx512_bf16" in flags or "amx_bf16" in flags
    return Check(
        "processor", result, True, "" if bf16 else "without bf16 instructions, --precision bf16 is not faster"
    )


def _cpu_flags() -> set[str]:
    try:
        with open("/proc/cpuinfo") as lines:
            return next((set(line.split()) for line in lines if line.startswith("flags")), set())
    except OSError:
        return set()


def _memory() -> Check:
    total_gb = psutil.virtual_memory().total / 1e9
    is_enough = total_gb >= MIN_MEMORY_GB
    return Check("memory", f"{total_gb:.1f} GB", is_enough, "" if is_enough else "use fewer processes: --workers 1")


def _disk() -> Check:
    fix = f"set {CACHE_VARIABLE} to a folder that you can write to"
    try:
        folder = cache_dir()
        folder.mkdir(parents=True, exist_ok=True)
        free_gb = psutil.disk_usage(str(folder)).free / 1e9
    except SetupError as error:
        return Check("cache", "none", False, str(error))
    except OSError as error:
        return Check("cache", f"{error.filename}: {error.strerror}", False, fix)
    is_writable = os.access(folder, os.W_OK)
    return Check("cache", f"{folder}, {free_gb:.0f} GB free", is_writable, "" if is_writable else fix)


def _weights() -> Check:
    file = imagenet_file()
    if file.is_file():
        return Check("ImageNet weights", str(file.parent))
    hint = f"--model MobileNetV2 downloads the weights once; or put {file.name} into {file.parent}"
    return Check("ImageNet weights", "not in Keras' cache: verger uses its own fruitnet", True, hint)
