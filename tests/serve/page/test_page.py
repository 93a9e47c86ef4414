"""The phone page in a real browser, with a stand-in for the service."""

from __future__ import annotations

import gzip
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.serve.page.conftest import PHONE
from tests.serve.page.fake_service import STATIC, FakeService, Fault, serve

MAX_SHELL_BYTES = 100_000
UNSURE = (("quince", 0.41), ("pear", 0.32), ("apple", 0.12))

pytestmark = pytest.mark.browser


@dataclass
class Phone:
    """An open page, the service behind it, and the errors that the browser has logged."""

    page: Any
    context: Any
    fake: FakeService
    troubles: list[str] = field(default_factory=list)

    def open(self) -> Any:
        """Open one more tab, at the start."""
        page = self.context.new_page()
        page.on("pageerror", lambda error: self.troubles.append(str(error)))
        page.on("console", self._note)
        page.goto(self.fake.url)
        page.locator("html[data-ready]").wait_for()
        return page

    def _note(self, message: Any) -> None:
        # The browser logs each answer with a status of 400 and more, and each request without network.
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            self.troubles.append(message.text)

    def ask(self, *photos: Path) -> None:
        """Choose photos on the start page."""
        self.page.goto(f"{self.fake.url}/#/")
        self.page.locator("#view-start").wait_for()
        self.page.set_input_files("#gallery", [str(photo) for photo in photos])

    def identify(self, *photos: Path) -> None:
        """Choose photos, and wait for the answer and the facts."""
        self.ask(*photos)
        self.page.locator("#view-title[data-decision]").wait_for()
        self.page.locator("#find-facts[hidden], .facts-head").first.wait_for(state="attached")

    def text(self, selector: str) -> str:
        """Return the visible text of an element, on one line."""
        return " ".join(self.page.locator(selector).inner_text().split())

    def make_offline_capable(self) -> None:
        """Wait until the service worker has the shell and serves this page."""
        self.page.evaluate(
            "navigator.serviceWorker.ready.then(() => navigator.serviceWorker.controller ||"
            " new Promise((done) => navigator.serviceWorker.addEventListener('controllerchange', done)))"
            ".then(() => true)"
        )

    def wait_for_history(self, n_answered: int) -> None:
        """Open the history, and wait until it has this number of answered finds."""
        self.page.locator("#dock-history").click()
        self.page.locator(f"#history-list [data-state=answered] >> nth={n_answered - 1}").wait_for()
        assert self.page.locator("#history-list [data-state=answered]").count() == n_answered


@pytest.fixture
def options(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Options of the browser's context: a phone that asks for no motion, so that nothing moves under the tests."""
    defaults = {"viewport": PHONE, "locale": "en-GB", "reduced_motion": "reduce"}
    return defaults | getattr(request, "param", {})


@pytest.fixture
def phone(browser: Any, options: dict[str, Any]) -> Iterator[Phone]:
    fake = FakeService()
    with serve(fake):
        context = browser.new_context(**options)
        phone = Phone(None, context, fake)
        phone.page = phone.open()
        yield phone
        context.close()
    assert phone.troubles == []  # also no violation of the content security policy


def with_options(**options: Any) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("options", [options], indirect=True, ids=[",".join(options)])


def test_a_photo_gets_its_name_probability_variety_and_facts(phone: Phone, photos: list[Path]) -> None:
    phone.identify(photos[0])
    assert phone.text("#view-title").casefold() == "this is a banana"
    assert phone.text(".latin") == "Musa acuminata"
    assert phone.text("#find-answer .share-main") == "93% sure"
    share = phone.page.locator(".share-main .bar-part").evaluate(
        "part => part.getBoundingClientRect().width / part.parentElement.getBoundingClientRect().width"
    )
    assert share == pytest.approx(0.93, abs=0.01)
    assert "Lady Finger" in phone.text("#find-answer .variety")
    assert "New Guinea" in phone.text("#find-facts")
    assert "Vitamin C 8.7 mg" in phone.text(".nutrition table")
    assert "Blue Java" in phone.text(".varieties")
    assert "Panama disease" in phone.text(".conservation")
    assert phone.page.locator("#find-photos img").evaluate("image => image.naturalWidth") == 256
    assert phone.fake.count("POST", "/v1/observations") == 0  # nothing is kept without consent
    phone.page.locator(".others summary").click()
    assert phone.page.locator(".candidate-name").all_inner_texts() == ["Lemon", "Pear"]
    phone.page.locator("#candidate-lemon").click()
    phone.page.locator(".facts-head h2", has_text="Lemon").wait_for()
    assert phone.text(".season-text") == "October to March"  # across the end of the year
    assert phone.page.locator(".month.ripe").evaluate_all("all => all.map(m => +m.dataset.month)") == [
        1,
        2,
        3,
        10,
        11,
        12,
    ]
    phone.page.locator(".sources summary").click()
    assert "USDA FoodData Central" in phone.text(".sources")


def test_an_unsure_answer_names_several(phone: Phone, photos: list[Path]) -> None:
    phone.fake.decision, phone.fake.shares, phone.fake.variety = "unsure", UNSURE, None
    phone.identify(photos[4])
    assert phone.text("#view-title") == "Perhaps one of these"
    assert phone.page.locator(".candidate-name").all_inner_texts() == ["Quince", "Pear", "Apple"]
    assert phone.page.locator(".candidate .percent").all_inner_texts() == ["41%", "32%", "12%"]


def test_a_photo_without_fruit_shows_no_facts(phone: Phone, photos: list[Path]) -> None:
    phone.fake.decision = "not_a_fruit"
    phone.identify(photos[0])
    assert phone.text("#view-title") == "We see no fruit in this photo"
    assert not phone.page.locator("#find-facts").is_visible()


def test_large_photos_are_made_smaller_upright_and_lose_their_metadata(phone: Phone, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    exif[0x010F] = "maker"
    exif.get_ifd(0x8825)[1] = "N"
    photo = tmp_path / "large.jpg"
    picture = Image.new("RGB", (4000, 3000), "green")
    picture.paste("red", (0, 0, 4000, 300))  # the right side, when upright
    picture.save(photo, exif=exif)
    phone.identify(photo)
    (received,) = phone.fake.requests("POST", "/v1/identify")
    assert received.photos == [(1200, 1600)]
    with Image.open(io.BytesIO(received.photo_bytes[0])) as sent:
        assert sent.format == "JPEG"
        assert not sent.getexif()
        pixel = sent.getpixel((1190, 800))
        assert isinstance(pixel, tuple) and pixel[0] > 200


def test_several_photos_of_one_fruit_are_one_question(phone: Phone, photos: list[Path]) -> None:
    phone.identify(*photos[:3])
    (received,) = phone.fake.requests("POST", "/v1/identify")
    assert len(received.photos) == 3
    assert phone.page.locator("#find-photos img").count() == 3
    phone.page.set_input_files("#more", str(photos[3]))
    phone.page.locator("#find-photos li:nth-child(4) img").wait_for()
    phone.wait_for_history(1)  # the question with four photos has replaced the other
    assert [len(one.photos) for one in phone.fake.requests("POST", "/v1/identify")] == [3, 4]


def test_at_most_five_photos_are_taken(phone: Phone, photos: list[Path], tmp_path: Path) -> None:
    phone.identify(*photos)
    assert len(photos) == 6
    assert "the first five were taken" in phone.text("#toast")
    (received,) = phone.fake.requests("POST", "/v1/identify")
    assert len(received.photos) == 5


@with_options(locale="fr-FR")
def test_french(phone: Phone, photos: list[Path]) -> None:
    assert phone.page.locator("html").get_attribute("lang") == "fr"
    phone.identify(photos[0])
    assert phone.text("#view-title").casefold() == "c\u2019est une banane"
    assert "Valeurs nutritives" in phone.text("#find-facts")
    (received,) = phone.fake.requests("POST", "/v1/identify")
    assert received.headers["accept-language"] == "fr"
    phone.fake.shares = (("apple", 0.9),)
    phone.identify(photos[2])
    assert phone.text(".season-text") == "D\u2019août à décembre"


def test_the_language_is_switched_at_once_and_remembered(phone: Phone, photos: list[Path]) -> None:
    phone.fake.shares = (("apple", 0.9),)
    phone.identify(photos[2])
    assert phone.text("#view-title").casefold() == "this is an apple"
    phone.page.locator("#language").click()
    phone.page.locator("#view-title", has_text="pomme").wait_for()
    phone.page.locator(".facts-head h2", has_text="Pomme").wait_for()
    assert phone.page.locator("html").get_attribute("lang") == "fr"
    phone.page.reload()
    phone.page.locator("#view-title", has_text="pomme").wait_for()
    assert phone.text("#language") == "English"


def test_the_dictionary_has_the_same_texts_in_both_languages() -> None:
    source = (STATIC / "texts.js").read_text()
    english, french = re.search(
        r"const TEXTS = \{\n  en: \{\n(.*?)\n  \},\n  fr: \{\n(.*?)\n  \},\n\};", source, re.DOTALL
    ).groups()  # type: ignore[union-attr]
    key = re.compile(r'^    "?([\w.-]+)"?: ".*",$', re.MULTILINE)
    assert len(key.findall(english)) == len(english.splitlines()) > 100
    assert key.findall(english) == key.findall(french)


# Feedback and deletion.


def test_right_is_sent_with_the_photo_after_consent(phone: Phone, photos: list[Path]) -> None:
    phone.identify(photos[0], photos[1])
    phone.page.locator("#right").click()
    assert "without place and time" in phone.text("#consent")
    phone.page.locator("#consent-yes").click()
    phone.page.locator("#thanks").wait_for()
    kept, feedback = phone.fake.wait_for("POST", "/v1/observations", 2)
    assert len(kept.photos) == 2 and kept.form == {"consent": "true", "keep_metadata": "false"}
    assert len(kept.headers["authorization"].removeprefix("Bearer ")) >= 32
    assert re.fullmatch(r"[0-9a-f-]{36}", kept.headers["idempotency-key"])
    (observation,) = phone.fake.observations.values()
    assert feedback.path == f"/v1/observations/{observation}/feedback"
    assert feedback.json == {"is_right": True}
    assert feedback.headers["authorization"] == kept.headers["authorization"]


def test_without_consent_nothing_is_sent(phone: Phone, photos: list[Path]) -> None:
    phone.identify(photos[0])
    phone.page.locator("#wrong").click()
    phone.page.locator("#consent-no").click()
    phone.page.locator("#toast", has_text="Nothing was sent").wait_for()
    assert not phone.page.locator("#choose").is_visible()
    phone.page.locator("#right").click()
    phone.page.locator("#consent").wait_for()  # it opens after the find was read
    phone.page.keyboard.press("Escape")
    phone.page.locator("#consent").wait_for(state="hidden")
    assert phone.fake.count("POST", "/v1/observations") == 0


def test_wrong_is_sent_with_the_fruit_that_was_searched(phone: Phone, photos: list[Path]) -> None:
    phone.identify(photos[0])
    choose_fruit(phone, "pome", "Pomegranate")
    phone.page.locator("#comment").fill("Wonderful, from Spain")
    phone.page.locator("#choose-yes").click()
    phone.page.locator("#thanks", has_text="Pomegranate").wait_for()
    _, feedback = phone.fake.wait_for("POST", "/v1/observations", 2)
    assert feedback.json == {"is_right": False, "species": "pomegranate", "comment": "Wonderful, from Spain"}
    # Once more: the same observation, without another question for consent.
    phone.page.locator("#wrong").click()
    phone.page.locator("#choose .choice", has_text="I do not know").click()
    phone.page.locator("#choose-yes").click()
    *_, second = phone.fake.wait_for("POST", "/v1/observations", 3)
    assert second.json == {"is_right": False, "species": None}
    assert len(phone.fake.observations) == 1


def choose_fruit(phone: Phone, query: str, name: str) -> None:
    """Say that the answer is wrong, agree, search and choose."""
    phone.page.locator("#wrong").click()
    phone.page.locator("#consent-yes").click()
    phone.page.locator("#search").fill(query)
    phone.page.locator("#search-status", has_text="found").wait_for()
    phone.page.locator("#choose .choice", has_text=name).click()


def test_history_survives_a_reload_and_deletion_reaches_the_service(phone: Phone, photos: list[Path]) -> None:
    phone.identify(photos[0])
    phone.page.locator("#right").click()
    phone.page.locator("#consent-yes").click()
    phone.fake.wait_for("POST", "/v1/observations", 2)
    phone.identify(photos[2])
    phone.page.reload()
    phone.wait_for_history(2)
    assert phone.page.locator(".find-title").all_inner_texts() == ["Banana", "Banana"]
    assert phone.page.locator(".find .badge").all_inner_texts() == ["Kept by Verger"]
    kept = phone.page.locator(".find-item", has_text="Kept by Verger")
    kept.locator("a").click()
    phone.page.locator("#view-title[data-decision]").wait_for()
    phone.page.locator("#dock-history").click()
    kept.locator(".icon-button").click()
    phone.page.locator("#confirm-yes").click()
    (deletion,) = phone.fake.wait_for("DELETE", "/v1/observations", 1)
    (observation,) = phone.fake.observations.values()
    assert deletion.path == f"/v1/observations/{observation}"
    phone.wait_for_history(1)
    phone.page.locator("#delete-all").click()
    phone.page.locator("#confirm-yes").click()
    phone.page.locator(".empty").wait_for()
    assert phone.fake.wait_for("DELETE", "/v1/observations", 2)[1].path == "/v1/observations"
    phone.page.reload()
    phone.page.locator(".empty").wait_for()


def test_a_deletion_without_network_reaches_the_service_later(phone: Phone, photos: list[Path]) -> None:
    phone.identify(photos[0])
    phone.page.locator("#right").click()
    phone.page.locator("#consent-yes").click()
    phone.fake.wait_for("POST", "/v1/observations", 2)
    phone.context.set_offline(True)
    phone.page.locator("#delete-find").click()
    phone.page.locator("#confirm-yes").click()
    phone.page.locator(".empty").wait_for()
    assert phone.fake.count("DELETE", "/v1/observations") == 0
    phone.context.set_offline(False)
    phone.fake.wait_for("DELETE", "/v1/observations", 1)


# Errors.


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault(422, problem={"reason": "truncated", "photo": 1}), "Photo 2: Part of the photo is missing"),
        (Fault(422, problem={"reason": "not-an-image", "photo": 0}), "Photo 1: This file is not a photo"),
        (Fault(413), "too large"),
        (Fault(415), "cannot read this kind of file"),
        (Fault(500), "error 500"),
    ],
    ids=lambda value: str(value.status) if isinstance(value, Fault) else "",
)
def test_refusals_are_explained(phone: Phone, photos: list[Path], fault: Fault, message: str) -> None:
    phone.fake.faults.append(fault)
    phone.ask(photos[0], photos[1])
    phone.page.locator("#problem", has_text=message).wait_for()
    assert message in phone.page.locator("#announcer").inner_text()
    phone.page.locator("#again").click()
    phone.page.locator("#view-title[data-decision=sure]").wait_for()


def test_a_file_that_is_no_photo_is_left_to_the_service(phone: Phone, tmp_path: Path) -> None:
    file = tmp_path / "note.jpg"
    file.write_text("this is a text")
    phone.fake.faults.append(Fault(422, problem={"reason": "not-an-image", "photo": 0}))
    phone.ask(file)
    phone.page.locator("#problem", has_text="not a photo").wait_for()
    (received,) = phone.fake.requests("POST", "/v1/identify")
    assert received.photo_bytes == [b"this is a text"]


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_service_is_asked_again_after_a_countdown(phone: Phone, photos: list[Path], status: int) -> None:
    phone.page.clock.install()
    phone.page.reload()
    phone.fake.faults.append(Fault(status, retry_after_s=30))
    phone.ask(photos[0])
    phone.page.locator("#countdown", has_text="30 s").wait_for()
    assert "30 seconds" in phone.page.locator("#announcer").inner_text()
    phone.page.clock.run_for(10_000)
    assert phone.text("#countdown") in ("20 s", "21 s")
    assert phone.fake.count("POST", "/v1/identify") == 1
    phone.page.clock.run_for(20_000)
    phone.page.locator("#view-title[data-decision=sure]").wait_for()
    assert phone.fake.count("POST", "/v1/identify") == 2


def test_waiting_for_a_busy_service_can_be_cancelled(phone: Phone, photos: list[Path]) -> None:
    phone.page.clock.install()
    phone.page.reload()
    phone.fake.faults.append(Fault(429, retry_after_s=30))
    phone.ask(photos[0])
    phone.page.locator("#countdown").wait_for()
    phone.page.locator("#cancel").click()
    phone.page.locator("#start-title").wait_for()
    phone.page.clock.run_for(60_000)
    phone.page.locator("#dock-history").click()
    phone.page.locator(".empty").wait_for()
    assert phone.fake.count("POST", "/v1/identify") == 1


# Without a network.


def test_photos_taken_offline_are_sent_exactly_once(phone: Phone, photos: list[Path]) -> None:
    phone.make_offline_capable()
    phone.context.set_offline(True)
    for photo in (photos[0], photos[2]):
        phone.ask(photo)
        phone.page.locator("#view-title", has_text="Saved for later").wait_for()
    phone.page.goto(f"{phone.fake.url}/#/")
    phone.page.reload()
    phone.page.locator("#queue h2", has_text="2 photos are waiting").wait_for()
    assert phone.page.locator("#queue li").count() == 2
    assert phone.fake.count("POST", "/v1/identify") == 0
    second_tab = phone.open()
    second_tab.locator("#queue h2", has_text="2 photos are waiting").wait_for()
    phone.context.set_offline(False)
    phone.wait_for_history(2)
    second_tab.locator("#queue").wait_for(state="hidden")
    phone.page.reload()
    phone.wait_for_history(2)
    received = phone.fake.requests("POST", "/v1/identify")
    assert len(received) == 2
    assert len({one.headers["idempotency-key"] for one in received}) == 2
    assert len({one.photo_bytes[0] for one in received}) == 2


def test_feedback_given_offline_is_sent_later(phone: Phone, photos: list[Path]) -> None:
    phone.make_offline_capable()
    phone.identify(photos[0])
    phone.context.set_offline(True)
    phone.page.locator("#offline").wait_for()
    phone.page.locator("#right").click()
    phone.page.locator("#consent-yes").click()
    phone.page.locator("#thanks", has_text="when the network is back").wait_for()
    phone.context.set_offline(False)
    phone.fake.wait_for("POST", "/v1/observations", 2)


def test_an_old_answer_and_its_facts_can_be_read_offline(phone: Phone, photos: list[Path]) -> None:
    phone.make_offline_capable()
    phone.identify(photos[0])
    phone.context.set_offline(True)
    phone.page.reload()
    phone.page.locator("#view-title", has_text="banana").wait_for()
    phone.page.locator("#find-facts", has_text="New Guinea").wait_for()


def test_the_service_worker_caches_every_file() -> None:
    shell = re.search(r"const SHELL = \[(.*?)\];", (STATIC / "sw.js").read_text(), re.DOTALL)
    assert shell is not None
    paths = {f"/static/{path.name}" for path in STATIC.iterdir()}
    paths -= {"/static/index.html", "/static/manifest.webmanifest", "/static/sw.js"}
    assert set(re.findall(r'"(.+?)"', shell[1])) == paths | {"/", "/manifest.webmanifest"}


# Access for all.


@pytest.mark.parametrize(
    "options",
    [
        {"color_scheme": "light"},
        {"color_scheme": "dark"},
        {"locale": "fr-FR"},
        {"viewport": {"width": 1280, "height": 900}},
    ],
    indirect=True,
    ids=["light", "dark", "french", "desktop"],
)
def test_axe_finds_nothing(phone: Phone, photos: list[Path]) -> None:
    check_axe(phone, "start")
    phone.identify(photos[0])
    phone.page.locator(".others summary").click()
    phone.page.locator(".sources summary").click()
    check_axe(phone, "sure")
    phone.page.locator("#wrong").click()
    check_axe(phone, "consent")
    phone.page.locator("#consent-yes").click()
    phone.page.locator("#search").fill("p")
    phone.page.locator("#search-status:not(:empty)").wait_for()
    phone.page.locator("#choices input[value=pear]").check()
    check_axe(phone, "choice of a fruit")
    phone.page.locator("#choose-yes").click()
    phone.page.locator("#thanks").wait_for()
    check_axe(phone, "thanks")
    phone.fake.decision, phone.fake.shares = "unsure", UNSURE
    phone.identify(photos[4])
    check_axe(phone, "unsure")
    phone.fake.faults.append(Fault(422, problem={"reason": "corrupt", "photo": 0}))
    phone.ask(photos[0])
    phone.page.locator("#problem").wait_for()
    check_axe(phone, "problem")
    phone.page.locator("#dock-history").click()
    check_axe(phone, "history")
    phone.page.locator("#delete-all").click()
    check_axe(phone, "confirmation")
    phone.page.locator("#confirm-no").click()
    phone.context.set_offline(True)
    phone.ask(photos[1])
    phone.page.locator("#offline").wait_for()
    check_axe(phone, "waiting")
    phone.page.goto(f"{phone.fake.url}/#/")
    phone.page.locator("#queue").wait_for()
    check_axe(phone, "queue")


def check_axe(phone: Phone, view: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")
    results = axe.Axe().run(phone.page)
    assert results.violations_count == 0, f"{view}: {results.generate_report()}"


def test_from_start_to_feedback_with_the_keyboard_only(phone: Phone, photos: list[Path]) -> None:
    page = phone.page
    # Playwright catches file dialogs while an event handler exists, from a moment after it was added.
    page.on("filechooser", lambda _: None)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    tab_to(page, "#take-photo")
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(str(photos[0]))
    page.locator("#view-title[data-decision]").wait_for()
    assert page.evaluate("document.activeElement.id") in ("view-title", "main", "")
    tab_to(page, "#wrong")
    page.keyboard.press("Enter")
    tab_to(page, "#consent-yes")
    page.keyboard.press("Enter")
    tab_to(page, "#search")
    page.keyboard.type("pear")
    page.locator("#search-status", has_text="1 fruit found").wait_for()
    tab_to(page, "#choices input")
    page.keyboard.press("Space")
    tab_to(page, "#choose-yes")
    page.keyboard.press("Enter")
    page.locator("#thanks", has_text="Pear").wait_for()
    _, feedback = phone.fake.wait_for("POST", "/v1/observations", 2)
    assert feedback.json == {"is_right": False, "species": "pear"}


def tab_to(page: Any, selector: str) -> None:
    """Press Tab until the focus is at an element, which must show it."""
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            shown = page.evaluate(
                "() => { const at = document.activeElement; const box = at.closest('.choice') ?? at;"
                " return getComputedStyle(box).outlineStyle !== 'none' }"
            )
            assert shown, f"{selector} does not show the focus"
            return
    raise AssertionError(f"Tab does not reach {selector}")


@with_options(viewport={"width": 360, "height": 640}, locale="fr-FR")
def test_nothing_is_wider_than_a_small_phone_and_targets_are_large(phone: Phone, photos: list[Path]) -> None:
    check_size(phone)
    phone.identify(*photos[:3])
    check_size(phone)
    phone.page.locator("#wrong").click()
    check_size(phone)
    phone.page.locator("#consent-yes").click()
    check_size(phone)
    phone.page.locator("#choose-no").click()
    phone.fake.decision, phone.fake.shares = "unsure", UNSURE
    phone.identify(photos[4])
    check_size(phone)
    phone.page.locator("#dock-history").click()
    phone.page.locator(".find-item").first.wait_for()
    check_size(phone)


def check_size(phone: Phone) -> None:
    """Assert that nothing scrolls sideways, and that buttons, links and fields are at least 44 px large."""
    page = phone.page
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    small = page.evaluate(
        "() => [...document.querySelectorAll('button, a, summary, input[type=search], textarea, .choice')]"
        ".filter((one) => one.offsetParent && !one.matches('.skip'))"
        ".map((one) => [one.id || one.className || one.textContent, one.getBoundingClientRect()])"
        ".filter(([, box]) => box.height < 43.9 || box.width < 43.9).map(([name]) => name)"
    )
    assert small == []


def test_nothing_moves_for_users_who_want_no_motion(phone: Phone, photos: list[Path]) -> None:
    running = "() => document.getAnimations().filter((one) => one.playState === 'running').length"
    assert phone.page.evaluate(running) == 0
    phone.fake.is_open.clear()
    phone.ask(photos[0])
    phone.page.locator("#view-title", has_text="Looking").wait_for()
    assert phone.page.evaluate(running) == 0
    phone.fake.is_open.set()
    phone.page.locator("#view-title[data-decision]").wait_for()
    assert phone.page.evaluate(running) == 0


@with_options(reduced_motion="no-preference")
def test_a_photo_is_previewed_with_motion_until_the_answer_comes(phone: Phone, photos: list[Path]) -> None:
    phone.fake.is_open.clear()
    phone.ask(photos[0])
    phone.page.locator("#find-photos img").wait_for()
    wait_for_animation(phone.page, "look", is_running=True)
    phone.fake.is_open.set()
    phone.page.locator("#view-title[data-decision]").wait_for()
    wait_for_animation(phone.page, "look", is_running=False)
    assert "This is a banana" in phone.page.locator("#announcer").inner_text()


def wait_for_animation(page: Any, name: str, *, is_running: bool) -> None:
    """Wait until an animation of the style sheet runs, or does not run."""
    page.evaluate(
        "([name, isRunning]) => new Promise((done) => { const look = () =>"
        " document.getAnimations().some((one) => one.animationName === name) === isRunning"
        " ? done() : requestAnimationFrame(look); look(); })",
        [name, is_running],
    )


# Installation.


def test_the_page_can_be_installed(phone: Phone) -> None:
    phone.make_offline_capable()
    session = phone.context.new_cdp_session(phone.page)
    errors = session.send("Page.getInstallabilityErrors")["installabilityErrors"]
    # A context of Playwright is a private window, where nothing can be installed.
    assert [one["errorId"] for one in errors if one["errorId"] != "in-incognito"] == []
    manifest = json.loads((STATIC / "manifest.webmanifest").read_text())
    assert {"id", "name", "short_name", "start_url", "theme_color", "background_color"} <= set(manifest)
    assert manifest["display"] == "standalone"
    for icon in manifest["icons"]:
        path = STATIC / Path(icon["src"]).name
        if path.suffix == ".png":
            with Image.open(path) as picture:
                assert f"{picture.width}x{picture.height}" == icon["sizes"]
    assert {icon["purpose"] for icon in manifest["icons"]} == {"any", "maskable"}


def test_the_browsers_offer_to_install_becomes_a_button(phone: Phone) -> None:
    assert not phone.page.locator("#install").is_visible()
    phone.page.evaluate(
        "() => { const offer = new Event('beforeinstallprompt', { cancelable: true });"
        " offer.prompt = async () => { window.isAsked = true; }; window.dispatchEvent(offer); }"
    )
    phone.page.locator("#install").click()
    phone.page.locator("#install").wait_for(state="hidden")
    assert phone.page.evaluate("window.isAsked")


def test_the_page_is_small() -> None:
    sizes = {path.name: len(gzip.compress(path.read_bytes(), 6)) for path in STATIC.iterdir()}
    assert sum(sizes.values()) <= MAX_SHELL_BYTES, sizes
