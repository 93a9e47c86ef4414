"""Options of a training, validated when they are created."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from verger.errors import SettingsError
from verger.kernel.classifier.folds import group_pattern
from verger.kernel.classifier.lda import EMPIRICAL, UNIFORM
from verger.kernel.classifier.transforms import NONE, SIGNED_SQRT, TRANSFORMS

FEATURES = "features"
LOGISTIC, LDA = "logistic", "lda"
GROUPS = "groups"  # the value of --folds that leaves groups out


@dataclass(frozen=True)
class ClassifierKind:
    """A kind of classifier: the number that cross-validation chooses, and the default transform of features."""

    strength_name: str
    transform: str


CLASSIFIERS = {
    LOGISTIC: ClassifierKind("regularisation", NONE),
    LDA: ClassifierKind("shrinkage", SIGNED_SQRT),
}


@dataclass(frozen=True)
class TrainOptions:
    """How to train a classifier.

    column: name of the table to train on, and of its column of vectors: "features" or "components".
    group: rule for the photos that stay in one fold (see verger.kernel.classifier.folds.group_pattern).
    n_folds: number of folds of the cross-validation, which chooses one of the `strengths`.
    n_directions: number of principal directions onto which a logistic regression projects the standardised
        features. The fit becomes much faster, and changes little because of the L2 penalty.
    accuracy: determines the thresholds for species and varieties: on held-out photos, this share of those that are
        named is correct (see calibrate).
    max_iterations: limit of the optimiser in each fit of a logistic regression.
    classifier: a name of CLASSIFIERS. regularisations: used by logistic. shrinkages, priors: used by lda.
    transform: a name of TRANSFORMS; None: the default of the classifier, none for components.
    leaves_groups_out: whether folds are made of whole groups (see folds.assign_whole_groups).
    """

    column: str = FEATURES
    group: str = "film"
    n_folds: int = 5
    regularisations: tuple[float, ...] = (0.00003, 0.0003, 0.003, 0.03)
    n_directions: int = 512
    accuracy: float = 0.95
    max_iterations: int = 60
    classifier: str = LOGISTIC
    shrinkages: tuple[float, ...] = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
    priors: str = UNIFORM
    transform: str | None = None
    leaves_groups_out: bool = False

    def __post_init__(self) -> None:
        has_groups = group_pattern(self.group) is not None
        if self.n_folds < 2:
            raise SettingsError("folds", self.n_folds, f"2 or more, or {GROUPS}")
        if self.leaves_groups_out and not has_groups:
            raise SettingsError("folds", GROUPS, "a number, if group = none")
        if not self.regularisations or min(self.regularisations) < 0:
            raise SettingsError("regularisation", self.regularisations, "numbers of 0 or more")
        if not 0 < self.accuracy <= 1:
            raise SettingsError("accuracy", self.accuracy, "a share over 0 and at most 1")
        if self.classifier not in CLASSIFIERS:
            raise SettingsError("classifier", self.classifier, CLASSIFIERS)
        if not self.shrinkages or not all(0 < shrinkage <= 1 for shrinkage in self.shrinkages):
            raise SettingsError("shrinkage", self.shrinkages, "numbers over 0 and at most 1")
        if self.priors not in (UNIFORM, EMPIRICAL):
            raise SettingsError("priors", self.priors, (UNIFORM, EMPIRICAL))
        if self.transform_name not in TRANSFORMS:
            raise SettingsError("transform", self.transform, TRANSFORMS)
        if self.column != FEATURES and self.transform_name != NONE:
            raise SettingsError("transform", self.transform, f"{NONE}, if training on {self.column}")

    @property
    def strength_name(self) -> str:
        """The name of the number that cross-validation chooses."""
        return CLASSIFIERS[self.classifier].strength_name

    @property
    def strengths(self) -> tuple[float, ...]:
        """The numbers from which cross-validation chooses."""
        return self.shrinkages if self.classifier == LDA else self.regularisations

    @property
    def transform_name(self) -> str:
        """The name of the transform that precedes the linear functions."""
        if self.transform is not None:
            return self.transform
        return CLASSIFIERS[self.classifier].transform if self.column == FEATURES else NONE


@dataclass(frozen=True)
class TrainFlags:
    """Flags of `verger train` as text; None: not given."""

    classifier: str
    regularisation: str | None
    shrinkage: str | None
    priors: str | None
    folds: str


def parse_options(flags: TrainFlags, **options: Any) -> TrainOptions:
    """Return the options of a training; raises SettingsError.

    options: other fields of TrainOptions. A flag of another classifier than the chosen one is an error.
    """
    for key in ("regularisation", "shrinkage", "priors"):
        of = LOGISTIC if key == "regularisation" else LDA
        if (value := getattr(flags, key)) is not None and of != flags.classifier:
            raise SettingsError(key, value, f"no {key}, because classifier = {flags.classifier}, and not {of}")
    if flags.regularisation is not None:
        options["regularisations"] = _parse_strengths("regularisation", flags.regularisation)
    if flags.shrinkage is not None:
        options["shrinkages"] = _parse_strengths("shrinkage", flags.shrinkage)
    if flags.priors is not None:
        options["priors"] = flags.priors
    n_folds, leaves_groups_out = _parse_folds(flags.folds)
    return TrainOptions(
        classifier=flags.classifier, n_folds=n_folds, leaves_groups_out=leaves_groups_out, **options
    )


def _parse_strengths(name: str, text: str) -> tuple[float, ...]:
    """Parse numbers separated by commas, like "0.01,0.1"; raises SettingsError with the name of the option."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise SettingsError(name, text, "numbers separated by commas, like 0.03,0.3") from error


def _parse_folds(text: str) -> tuple[int, bool]:
    """Return the number of folds, and whether they are made of whole groups; raises SettingsError."""
    if text == GROUPS:
        return TrainOptions.n_folds, True
    try:
        return int(text), False
    except ValueError as error:
        raise SettingsError("folds", text, f"2 or more, or {GROUPS}") from error
