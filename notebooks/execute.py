"""Execute notebooks/verger.ipynb from top to bottom: `python -m notebooks.execute` (make notebook) before a commit.

Output that changes from run to run without a meaning (times, versions, Spark's messages on stderr) is removed.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import nbformat
import papermill

NOTEBOOK = Path(__file__).with_name("verger.ipynb")

_METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def execute(target: Path, folder: Path, **parameters: Any) -> None:
    """Execute the notebook in `folder` with the current Python, and write it with its outputs to `target`.

    Raises papermill's PapermillExecutionError if a cell fails.
    """
    papermill.execute_notebook(
        str(NOTEBOOK),
        str(target),
        parameters,
        kernel_name="python3",
        cwd=str(folder),
        start_timeout=300,
        progress_bar=False,
    )


def clean(notebook: Any) -> Any:
    """Return a notebook without the metadata of its execution: times, machine, user."""
    notebook.metadata = nbformat.from_dict(_METADATA)
    for cell in notebook.cells:
        tags = [tag for tag in cell.metadata.get("tags", []) if tag == "parameters"]
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    return notebook


def main() -> None:
    """Execute the notebook on renders, and save it with its outputs."""
    with tempfile.TemporaryDirectory(prefix="verger-notebook-") as folder:
        executed = Path(folder) / "executed.ipynb"
        execute(executed, Path(folder))
        notebook = clean(nbformat.read(executed, as_version=4))
    nbformat.write(notebook, NOTEBOOK)


if __name__ == "__main__":
    main()
