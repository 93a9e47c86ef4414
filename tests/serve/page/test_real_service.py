"""The phone page with the real service behind it, from the photo to the database."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.serve.page.conftest import PHONE
from tests.support.service import running_service

pytestmark = pytest.mark.browser


def test_a_photo_is_named_kept_and_forgotten(browser: Any, photos: list[Path], tmp_path: Path) -> None:
    troubles: list[str] = []
    with running_service(tmp_path) as service:
        context = browser.new_context(viewport=PHONE, locale="fr-FR", reduced_motion="reduce")
        page = context.new_page()
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.goto(service.url)
        page.locator("html[data-ready]").wait_for()
        page.set_input_files("#gallery", [str(photos[0])])
        page.locator("#view-title[data-decision=sure]").wait_for()
        assert page.locator("#view-title").inner_text().split()[-1].casefold() == "banane"
        assert "Musaceae" in page.locator(".facts-head").inner_text()
        assert "kcal" in page.locator(".nutrition").inner_text()
        assert rows(tmp_path, "observations") == []

        page.locator("#wrong").click()
        page.locator("#consent-yes").click()
        page.locator("#search").fill("citron")
        page.locator("#choices input[value=lemon]").check()
        with page.expect_response(lambda response: response.url.endswith("/feedback")):
            page.locator("#choose-yes").click()
        page.locator("#thanks").wait_for()
        assert len(rows(tmp_path, "observations")) == 1
        ((_, is_right, species, *_),) = rows(tmp_path, "feedback")
        assert (is_right, species) == (0, "lemon")

        page.locator("#delete-find").click()
        with page.expect_response(lambda response: response.request.method == "DELETE"):
            page.locator("#confirm-yes").click()
        page.locator(".empty").wait_for()
        context.close()
    assert rows(tmp_path, "observations") == rows(tmp_path, "photos") == rows(tmp_path, "feedback") == []
    assert [file for file in (tmp_path / "verger-data" / "photos").rglob("*") if file.is_file()] == []
    assert troubles == []


def rows(folder: Path, table: str) -> list[tuple[Any, ...]]:
    database = sqlite3.connect(folder / "verger-data" / "verger.db")
    found = database.execute(f'SELECT * FROM "{table}"').fetchall()
    database.close()
    return found
