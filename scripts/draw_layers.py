"""Draw the layers of src/verger as docs/pictures/layers.svg: `python -m scripts.draw_layers`.

The layers are those that import-linter checks (pyproject.toml), the text in each box is the first sentence of the
module's docstring.
"""

from __future__ import annotations

import ast
import re
import textwrap
import tomllib
from html import escape
from pathlib import Path

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "pictures" / "layers.svg"

WIDTH_PX, MARGIN_PX, LINE_PX, CHARACTER_PX = 960, 14, 17, 6.1


def read_layers() -> list[list[str]]:
    """Return the layers from top to bottom, each as the names of its modules."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    return [[name.strip() for name in layer.split("|")] for layer in layers]


def describe(module: str) -> str:
    """Return the first sentence of a module's docstring."""
    path = ROOT / "src" / Path(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    docstring = ast.get_docstring(ast.parse(file.read_text())) or ""
    return re.split(r"(?<=\.)\s", docstring.partition("\n\n")[0].replace("\n", " "))[0].replace("`", "")


def draw() -> str:
    """Return the drawing as SVG."""
    shapes, y = [], MARGIN_PX
    for layer in read_layers():
        width = (WIDTH_PX - MARGIN_PX * (len(layer) + 1)) / len(layer)
        texts = [textwrap.wrap(describe(module), int((width - 24) / CHARACTER_PX)) for module in layer]
        height = LINE_PX * (1 + max(map(len, texts))) + 14
        for column, (module, lines) in enumerate(zip(layer, texts, strict=True)):
            shapes += _box(MARGIN_PX + column * (width + MARGIN_PX), y, width, height, [module, *lines])
        y += height + MARGIN_PX
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH_PX} {y}" '
            'font-family="Helvetica, Arial, sans-serif" font-size="12.5">',
            f'<rect width="{WIDTH_PX}" height="{y}" fill="white"/>',
            *shapes,
            "</svg>\n",
        ]
    )


def _box(x: float, y: float, width: float, height: float, lines: list[str]) -> list[str]:
    name, *description = lines
    style = 'rx="6" fill="#f6f8f4" stroke="#6b8f5e"'
    return [
        f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" {style}/>',
        f'<text x="{x + 12:g}" y="{y + LINE_PX + 2:g}" font-weight="bold">{escape(name)}</text>',
        *(
            f'<text x="{x + 12:g}" y="{y + LINE_PX * (row + 2) + 2:g}" fill="#333333">{escape(line)}</text>'
            for row, line in enumerate(description)
        ),
    ]


if __name__ == "__main__":
    PICTURE.write_text(draw())
