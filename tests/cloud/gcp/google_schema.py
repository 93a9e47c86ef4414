"""The google provider's resources and their arguments: what `terraform validate` would ask of names.

The provider itself need not be had for it. Its bindings for Python (cdktf-cdktf-provider-google, in .venv-scan) are
generated from it: a class for every resource and every block, whose keyword arguments are those of Terraform.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

VERSION = "6.50.0"
"""The provider's version that the bindings in requirements/scan.lock are of."""

_ROOT = Path(__file__).parents[3] / ".venv-scan" / "lib"
# What the bindings give every resource besides.
_META = {"connection", "count", "depends_on", "for_each", "id", "lifecycle", "provider", "provisioners"}


@dataclass(frozen=True)
class Schema:
    """A resource, a data source, the provider, or a block in one of them."""

    module: Path
    name: str

    @cached_property
    def required(self) -> set[str]:
        return {name for name, (_, default) in self._arguments.items() if default is None} - _META

    @cached_property
    def optional(self) -> set[str]:
        return set(self._arguments) - self.required - _META

    @cached_property
    def attributes(self) -> set[str]:
        """What others may refer to: arguments and what the cloud tells of it."""
        return {each.name for each in self._class.body if isinstance(each, ast.FunctionDef) if _is_property(each)}

    def block(self, name: str) -> Schema:
        """Return the block of that name; raises KeyError where there is none."""
        annotation, _ = self._arguments[name]
        inner = [str(each.value) for each in ast.walk(annotation) if isinstance(each, ast.Constant)]
        return Schema(self.module, inner[0])

    @cached_property
    def _class(self) -> ast.ClassDef:
        tree = _parsed(self.module)
        return next(each for each in tree.body if isinstance(each, ast.ClassDef) and each.name == self.name)

    @cached_property
    def _arguments(self) -> dict[str, tuple[ast.expr, ast.expr | None]]:
        (init,) = (
            each for each in self._class.body if isinstance(each, ast.FunctionDef) and each.name == "__init__"
        )
        defaults = zip(init.args.kwonlyargs, init.args.kw_defaults, strict=True)
        return {argument.arg: (argument.annotation or ast.Constant(""), default) for argument, default in defaults}


def read_schema(word: str, kind: str) -> Schema:
    """Return what the provider knows as `resource "google_storage_bucket"`, say."""
    ours = kind.removeprefix("google_")
    name = {"provider": "provider", "data": f"data_google_{ours}", "resource": ours}[word]
    module = bindings() / name / "__init__.py"
    assert f"/providers/hashicorp/google/{VERSION}/" in module.read_text(), (
        "requirements/scan.lock has other bindings"
    )
    return Schema(module, next(_main_class(module)))


def bindings() -> Path:
    """Return the folder of the bindings; raises FileNotFoundError if `make scan` has not been run."""
    found = next(_ROOT.glob("python3*/site-packages/cdktf_cdktf_provider_google"), None)
    if found is None:
        raise FileNotFoundError("the google provider's bindings are not in .venv-scan: run make scan")
    return found


def _main_class(module: Path) -> Iterator[str]:
    """Yield the name of the class that is Terraform's resource, data source or provider itself."""
    for each in _parsed(module).body:
        if isinstance(each, ast.ClassDef) and any("_cdktf" in ast.unparse(base) for base in each.bases):
            yield each.name


def _is_property(function: ast.FunctionDef) -> bool:
    return any(ast.unparse(each) == "builtins.property" for each in function.decorator_list)


def _parsed(module: Path) -> ast.Module:
    return ast.parse(module.read_text())
