"""The exception tree.

VergerError                 everything verger raises on purpose; cli prints it without a traceback
+-- SettingsError           a bad setting: names key, value and the valid ones
+-- SourceError             the photos cannot be listed, or there are none
+-- StorageError            an object store refuses, fails or cannot be reached; says whose credentials were used
+-- ResultError             the output folder is taken, locked or not a verger result
+-- WeightsError            weights missing, unreachable or of another architecture
+-- ReductionError          PCA cannot be fitted as asked; says what to ask instead
+-- ClassifierError         a classifier cannot be trained, read or used on these features
+-- ClusterError            the cluster of `verger cluster` cannot be started, or is not well
+-- CloudError              a cloud refuses, or what is asked of it may not be: says what to do
+-- SetupError              the machine lacks something (Java, an extra); says which command mends it
+-- JobError                a task failed for a reason verger does not know: says what is known of it
+-- SpaceError              a disk is full: says how much is free where
+-- DecodeError             one photo cannot be decoded: becomes a row in `rejected`, never stops a run
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class VergerError(Exception):
    """Base of all errors raised on purpose."""


class SettingsError(VergerError):
    """A setting has a value it cannot have."""

    def __init__(self, key: str, value: object, expected: str | Iterable[str]) -> None:
        valid = expected if isinstance(expected, str) else "one of " + ", ".join(expected)
        super().__init__(f"{key} = {value!r} is not valid: expected {valid}")
        self.key, self.value, self.expected = key, value, valid

    def __reduce__(self) -> tuple[type[SettingsError], tuple[str, object, str]]:
        return SettingsError, (self.key, self.value, self.expected)


class SourceError(VergerError):
    """The photos cannot be listed."""


class StorageError(VergerError):
    """An object store refuses, fails or cannot be reached.

    is_refusal: these credentials may not do it. is_unsupported: the store has no such operation.
    """

    def __init__(self, message: str, *, is_refusal: bool = False, is_unsupported: bool = False) -> None:
        super().__init__(message)
        self.is_refusal = is_refusal
        self.is_unsupported = is_unsupported


class ResultError(VergerError):
    """The output folder cannot be written."""


class WeightsError(VergerError):
    """The weights cannot be had or do not fit the model."""


class ReductionError(VergerError):
    """PCA cannot be fitted as asked."""


class ClassifierError(VergerError):
    """A classifier cannot be trained, read or used as asked."""


class ClusterError(VergerError):
    """The cluster on this machine cannot be started, or is not well."""


class CloudError(VergerError):
    """A cloud refuses what is asked of it, or verger does: outside the EU, over the budget, not there."""


class SetupError(VergerError):
    """The machine lacks something verger needs."""


class JobError(VergerError):
    """A task failed, in a worker process or a Spark job."""


class SpaceError(VergerError):
    """A disk is full."""


class Reason(StrEnum):
    """Why a photo is in `rejected`: the closed list."""

    EMPTY = "empty"  # zero bytes
    UNREADABLE = "unreadable"  # the file system refuses to give it
    NOT_AN_IMAGE = "not-an-image"  # no decoder recognises the first bytes
    TOO_LARGE = "too-large"  # more bytes than any photo has; none were read
    TOO_MANY_PIXELS = "too-many-pixels"  # over the limit; nothing was allocated
    TRUNCATED = "truncated"  # the file ends before the picture does
    CORRUPT = "corrupt"  # recognised, but the decoder gives up
    UNSUPPORTED = "unsupported"  # a pixel format with no agreed 8-bit rendering
    POISON = "poison"  # decoding it ends the process that does, or takes more memory than there is
    TIMEOUT = "timeout"  # decoding it takes longer than the limit


class DecodeError(VergerError):
    """One photo cannot be decoded; `reason` is from the closed list, `detail` for people."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail

    def __reduce__(self) -> tuple[type[DecodeError], tuple[Reason, str]]:
        return DecodeError, (self.reason, self.detail)
