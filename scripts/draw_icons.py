"""Draw the PNG icons of the phone page from its icon.svg, with Chromium: `python -m scripts.draw_icons`."""

from __future__ import annotations

import io
import os
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).parents[1]
STATIC = ROOT / "src" / "verger" / "serve" / "static"
CHROMIUM = os.environ.get("VERGER_CHROMIUM", "/usr/bin/chromium")

# A launcher may crop a maskable icon to a circle of 80 % of its width, so the picture there is smaller.
MASKABLE_SCALE = 0.72
N_COLOURS = 96


def draw(browser: Browser, size_px: int, *, is_maskable: bool = False) -> bytes:
    """Return icon.svg as a PNG of size_px x size_px."""
    page = browser.new_page(viewport={"width": size_px, "height": size_px})
    svg = (STATIC / "icon.svg").read_text()
    if is_maskable:
        moved = f'<g transform="translate(256 256) scale({MASKABLE_SCALE}) translate(-256 -256)">'
        svg = svg.replace("<path", f"{moved}<path", 1).replace("</svg>", "</g></svg>")
        svg = svg.replace(
            '<path d="M0 392c150-52 340-52 512 0v4a116 116 0 0 1-116 116H116A116 116 0 0 1 0 396Z"', "<path"
        )
        svg = svg.replace('rx="116"', "")
    page.set_content(f"<style>body {{ margin: 0 }} svg {{ display: block; width: {size_px}px }}</style>{svg}")
    picture = Image.open(io.BytesIO(page.screenshot(omit_background=True))).convert("RGBA")
    page.close()
    file = io.BytesIO()
    # The picture has few colours: a palette makes the file a third as large.
    picture.quantize(N_COLOURS, method=Image.Quantize.FASTOCTREE).save(file, "PNG", optimize=True)
    return file.getvalue()


def main() -> None:
    """Write the PNG icons beside icon.svg."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for size_px in (192, 512):
            (STATIC / f"icon-{size_px}.png").write_bytes(draw(browser, size_px))
        (STATIC / "icon-maskable-512.png").write_bytes(draw(browser, 512, is_maskable=True))
        browser.close()


if __name__ == "__main__":
    main()
