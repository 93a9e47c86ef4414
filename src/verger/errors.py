"""The exceptions that verger raises.

VergerError                 base class; the command line prints the message without a traceback
+-- SettingsError           a setting is invalid; names key, value and the valid values
+-- SourceError             the photos cannot be listed, or there are none
+-- StorageError            an object store fails, refuses or does not answer; names the credentials used
+-- ResultError             the output folder exists, is locked or is not a verger result
+-- WeightsError            the weights are missing, cannot be downloaded or do not fit the model
+-- DatabaseError           the service's database cannot be reached, or its tables have another version
+-- ReductionError          PCA cannot be fitted with these settings; says which settings to use instead
+-- ClassifierError         a classifier cannot be trained, read or used on these features
+-- ClusterError            the cluster of `verger cluster` cannot start or does not respond
+-- CloudError              a cloud refuses a request, or verger does (region, budget); says what to do
+-- SetupError              something is missing on this machine (Java, an extra, a home); says what to do
+-- JobError                a task failed for an unknown reason; shows its error
+-- SpaceError              a disk is full; says how much is free on each disk that verger uses
+-- DecodeError             one photo cannot be decoded; it becomes a row in `rejected` and does not stop the run
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class VergerError(Exception):
    """Base class of the exceptions that verger raises."""


class SettingsError(VergerError):
    """A setting has an invalid value."""

    def __init__(self, key: str, value: object, expected: str | Iterable[str]) -> None:
        valid = expected if isinstance(expected, str) else "one of " + ", ".join(expected)
        super().__init__(f"{key} = {value!r} is not valid: expected {valid}")
        self.key, self.value, self.expected = key, value, valid

    def __reduce__(self) -> tuple[type[SettingsError], tuple[str, object, str]]:
        return SettingsError, (self.key, self.value, self.expected)


class SourceError(VergerError):
    """The photos cannot be listed."""


class StorageError(VergerError):
    """An object store refuses a request, fails or cannot be reached.

    is_refusal: the credentials lack permission. is_unsupported: the store does not have this operation.
    is_invalid_key: the key of an object has a form that verger cannot use, such as a//b.jpg.
    """

    def __init__(
        self, message: str, *, is_refusal: bool = False, is_unsupported: bool = False, is_invalid_key: bool = False
    ) -> None:
        super().__init__(message)
        self.is_refusal = is_refusal
        self.is_unsupported = is_unsupported
        self.is_invalid_key = is_invalid_key


class ResultError(VergerError):
    """A result cannot be written or read."""


class WeightsError(VergerError):
    """The weights cannot be read or downloaded, or do not fit the model."""


class DatabaseError(VergerError):
    """The service's database cannot be reached, or its tables have another version."""


class ReductionError(VergerError):
    """PCA cannot be fitted with these settings."""


class ClassifierError(VergerError):
    """A classifier cannot be trained, read or used."""


class ClusterError(VergerError):
    """The cluster on this machine cannot start or does not respond."""


class CloudError(VergerError):
    """A cloud refuses a request, or verger refuses it because of its region or the budget."""


class SetupError(VergerError):
    """Something that verger needs is not installed."""


class JobError(VergerError):
    """A task failed, in a worker process or a Spark job."""


class SpaceError(VergerError):
    """A disk is full."""


class Reason(StrEnum):
    """The possible values of the column `reason` of `rejected`."""

    EMPTY = "empty"  # zero bytes
    UNREADABLE = "unreadable"  # the file cannot be read, or is not a regular file
    NOT_AN_IMAGE = "not-an-image"  # no decoder recognises the first bytes
    TOO_LARGE = "too-large"  # the file has too many bytes; it is not read
    TOO_MANY_PIXELS = "too-many-pixels"  # the photo has too many pixels; it is not decoded
    TRUNCATED = "truncated"  # the file ends before the end of the image data
    CORRUPT = "corrupt"  # the decoder fails for another reason
    UNSUPPORTED = "unsupported"  # a pixel format without a defined conversion to 8 bits, or a missing extra
    POISON = "poison"  # decoding crashes the process or exhausts memory
    TIMEOUT = "timeout"  # reading or decoding takes longer than the limit


class DecodeError(VergerError):
    """One photo cannot be decoded; `detail` is the cause as text."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail

    def __reduce__(self) -> tuple[type[DecodeError], tuple[Reason, str]]:
        return DecodeError, (self.reason, self.detail)
