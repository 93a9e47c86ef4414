from __future__ import annotations

import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from verger.database.extra import _MODULES, check_serve_extra
from verger.errors import SetupError


def test_a_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    check_serve_extra()
    for module in ("sqlalchemy", "psycopg"):
        monkeypatch.setitem(sys.modules, module, None)  # as if it were not installed
    with pytest.raises(SetupError, match=r"^the service needs psycopg, SQLAlchemy: pip install 'verger\[serve\]'$"):
        check_serve_extra()


def test_every_library_of_the_extra_is_checked() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    required = {canonicalize_name(Requirement(line).name) for line in project["optional-dependencies"]["serve"]}
    owners = packages_distributions()
    assert {canonicalize_name(owner) for module in _MODULES for owner in owners[module]} == required
