"""Draw docs/page.png: the phone page of `verger serve`, in Chromium, with photos of `verger sample`.

Run it with `python -m scripts.photograph_page`.
"""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright
from tests.support.service import running_service

from scripts.draw_icons import CHROMIUM
from verger.sample import SampleOptions, render_sample

PICTURE = Path("docs/page.png")
_PHONE = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 1.2}
_GAP, _PAPER = 18, "white"


def main() -> None:
    """Photograph the start, an answer, its facts in French, and the history in the dark."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        render_sample(folder / "photos", SampleOptions(per_kind=1, seed=11))
        photos = [folder / "photos" / kind / "0_100.jpg" for kind in ("Mango", "Strawberry", "Pear", "Banana")]
        with running_service(folder, classifier="EfficientNetLite2") as service, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            light = browser.new_context(**_PHONE)
            screens = [photograph(light, service.url, "#/", []), photograph(light, service.url, None, photos[3:])]
            french = browser.new_context(**_PHONE, locale="fr-FR")
            screens.append(photograph(french, service.url, None, photos[2:3], scrolls_to="#find-facts"))
            dark = browser.new_context(**_PHONE, color_scheme="dark")
            screens.append(photograph(dark, service.url, "#/history", photos))
            browser.close()
    join(screens).quantize(256, dither=Image.Dither.NONE).save(PICTURE, optimize=True)
    print(f"{PICTURE}: {PICTURE.stat().st_size / 1e3:.0f} kB")


def photograph(
    context: Any, url: str, view: str | None, photos: list[Path], *, scrolls_to: str | None = None
) -> Image.Image:
    """Return a screen after the photos were named; view: the page's part, None: the last answer."""
    page = context.new_page()
    for photo in photos:
        page.goto(f"{url}#/")
        page.locator("html[data-ready]").wait_for()
        page.locator("#gallery").set_input_files(str(photo))
        page.locator("#view-title[data-decision]").wait_for()
    if view is not None:
        page.goto(f"{url}{view}")
    page.locator("html[data-ready]").wait_for()
    page.wait_for_timeout(1_500)  # until its movements have ended
    if scrolls_to:
        page.locator(scrolls_to).evaluate("part => part.scrollIntoView()")
        page.wait_for_timeout(500)
    return Image.open(io.BytesIO(page.screenshot())).convert("RGB")


def join(screens: list[Image.Image]) -> Image.Image:
    """Return the screens side by side."""
    width = sum(screen.width + _GAP for screen in screens) - _GAP
    picture = Image.new("RGB", (width, screens[0].height), _PAPER)
    left = 0
    for screen in screens:
        picture.paste(screen, (left, 0))
        left += screen.width + _GAP
    return picture


if __name__ == "__main__":
    main()
