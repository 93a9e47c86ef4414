from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.support.browser import chromium
from tests.support.thumbnails import thumbnails_here
from verger.errors import ResultError
from verger.report import page as report_page

HOSTILE = ["<script>alert(1)</script>", "</script><img src=x onerror=alert(2)>", "{{ 7 * 7 }} & \u2028\u202e"]


@dataclass(frozen=True)
class Fake:
    """What a made-up result holds; photos go round the labels."""

    n_photos: int = 12
    labels: tuple[str | None, ...] = ("Apple", "Pear")
    k: int = 3
    is_reduced: bool = True
    has_photos: bool = True
    rejected: tuple[tuple[str, int | None, str, str], ...] = ()
    manifest: dict[str, Any] = field(default_factory=dict)


def write_report(result: Path, **options: Any) -> Path:
    path = report_page.write_report(result, thumbnails_here, **options)
    assert isinstance(path, Path)
    return path


def make_result(folder: Path, fake: Fake) -> Path:
    """Write the result and its photos under `folder`; return the result."""
    result = folder / "result"
    labels = [fake.labels[i % len(fake.labels)] for i in range(fake.n_photos)]
    files = [folder / "photos" / f"{i % len(fake.labels)}" / f"{i} 100%25.jpg" for i in range(fake.n_photos)]
    if fake.has_photos:
        for i, file in enumerate(files):
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (100, 80), (200, 20 * i % 256, 30)).save(file)
    keys = {"path": [f"file:{file}" for file in files], "label": pa.array(labels, pa.string())}
    write_parts(result / "features", pa.table(keys | {"features": _vectors(fake.n_photos, 4)}))
    if fake.is_reduced:
        write_parts(result / "components", pa.table(keys | {"components": _vectors(fake.n_photos, fake.k)}))
        _write_spectrum(result / "model", n=6)
    write_parts(result / "rejected", _rejected_table(fake))
    (result / "manifest.json").write_text(json.dumps(_manifest(fake) | fake.manifest))
    return result


def write_parts(folder: Path, table: pa.Table) -> None:
    folder.mkdir(parents=True)
    half = table.num_rows // 2
    pq.write_table(table.slice(0, half), folder / "part-00000.snappy.parquet")
    pq.write_table(table.slice(half), folder / "part-00001.snappy.parquet")
    (folder / "_SUCCESS").touch()


def _vectors(n: int, width: int) -> pa.Array:
    values = np.random.default_rng(0).normal(size=(n, width)).astype(np.float32)
    return pa.array(list(values), pa.list_(pa.float32()))


def _write_spectrum(folder: Path, *, n: int) -> None:
    folder.mkdir()
    ratios = np.array([2.0**-i for i in range(1, n + 1)])
    rows = [f"{i},{r * 10},{r},{c}" for i, r, c in zip(range(1, n + 1), ratios, ratios.cumsum(), strict=True)]
    head = "component,explained_variance,explained_variance_ratio,cumulative_ratio"
    (folder / "spectrum.csv").write_text("\n".join([head, *rows]) + "\n")


def _rejected_table(fake: Fake) -> pa.Table:
    columns = list(zip(*fake.rejected, strict=True)) or [(), (), (), ()]
    types = {"path": pa.string(), "length": pa.int64(), "reason": pa.string(), "detail": pa.string()}
    return pa.table({name: pa.array(columns[i], types[name]) for i, name in enumerate(types)})


def _manifest(fake: Fake) -> dict[str, Any]:
    n, n_rejected = fake.n_photos, len(fake.rejected)
    reduction = {
        "n_components": fake.k,
        "explained_variance_ratio": 0.875,
        "criterion": "variance >= 0.8",
        "standardize": True,
        "method": "exact",
    }
    return {
        "verger": "0.1.0",
        "created": "2026-03-12T14:05:22+00:00",
        "command": "run",
        "source": "photos/",
        "versions": {"python": "3.11.9", "spark": "4.1.4"},
        "settings": {"model": "MobileNetV2", "workers": None},
        "network": {
            "model": "MobileNetV2",
            "size_px": [224, 192],
            "n_features": 1280,
            "weights_from": "imagenet",
        },
        "counts": {"listed": n + n_rejected, "features": n, "rejected": n_rejected},
        "reduction": reduction if fake.is_reduced else None,
        "timings_s": {"start": 4.5, "featurize": 60.0, "total": 66.0},
        "photos_per_s": 231.4,
        "parity": {"n_checked": 8, "min_cosine": 0.9999996},
    }


def read_data(html: str) -> dict[str, Any]:
    """Return the JSON that travels inside the page."""
    found = re.search(r'<script type="application/json" id="page-data">(.*?)</script>', html, re.DOTALL)
    assert found
    data: dict[str, Any] = json.loads(found[1])
    return data


def write_html(folder: Path, fake: Fake) -> str:
    path = write_report(make_result(folder, fake))
    assert path == folder / "result" / "report.html"
    return path.read_text(encoding="utf-8")


def own_html(html: str) -> str:
    """Return the page without plotly.js, which is known and long."""
    return re.sub(r"<script>/\*\*\s+\* plotly.js.*?</script>", "", html, flags=re.DOTALL)


def test_page_shows_the_numbers(tmp_path: Path) -> None:
    html = own_html(write_html(tmp_path, Fake(n_photos=1200, has_photos=False, rejected=(("p", 0, "empty", "d"),))))
    for text in ("1,201", "1,200", "87.5%", "231", "1 min 06 s", "224 \u00d7 192", "2026-03-12 14:05 UTC"):
        assert text in html
    assert "requested: variance \u2265\u00a00.8" in html
    assert "standardised" in html


@pytest.mark.parametrize(("views", "shown"), [("crops", "crops"), (1, "whole"), (None, None)])
def test_page_names_the_views(tmp_path: Path, views: str | int | None, shown: str | None) -> None:
    network = {"model": "MobileNetV2"} | ({} if views is None else {"views": views})
    html = own_html(write_html(tmp_path, Fake(manifest={"network": network})))
    facts = dict(re.findall(r"<dt>(.*?)</dt>\s*<dd><bdi>(.*?)</bdi></dd>", html))
    assert facts["Network"] == "MobileNetV2" and facts.get("Views") == shown


def test_page_loads_nothing(tmp_path: Path) -> None:
    html = own_html(write_html(tmp_path, Fake()))
    assert "http:" not in html
    assert "https:" not in html
    assert not re.search(r"@import|<link|<iframe|<base|url\(", html)
    assert set(re.findall(r'\ssrc="([^"]*)"', html)) == set()
    assert "default-src 'none'" in html


def test_nothing_is_left_beside_the_page(tmp_path: Path) -> None:
    result = make_result(tmp_path, Fake())
    before = set(result.iterdir())
    assert set(result.iterdir()) | {write_report(result)} == {*before, result / "report.html"}
    assert write_report(result).read_bytes() == (result / "report.html").read_bytes()


def test_writing_twice_gives_the_same_page(tmp_path: Path) -> None:
    result = make_result(tmp_path, Fake())
    assert write_report(result).read_bytes() == write_report(result).read_bytes()


@pytest.mark.parametrize("label", HOSTILE)
def test_labels_and_paths_are_only_text(tmp_path: Path, label: str) -> None:
    rejected = ((f"file:/{label}", 3, label, label),)
    html = own_html(write_html(tmp_path, Fake(labels=(label, None), rejected=rejected, manifest={"source": label})))
    assert "alert(1)</script>" not in html
    assert "<img src=x" not in html
    assert "49" not in re.findall(r"<dd>(.*?)</dd>", html)
    assert read_data(html)["scatter"]["labels"] == [label, None]


def test_map_holds_every_photo_with_its_thumbnail(tmp_path: Path) -> None:
    scatter = read_data(write_html(tmp_path, Fake()))["scatter"]
    assert len(scatter["label"]) == len(scatter["name"]) == len(scatter["values"][0]) == 12
    assert scatter["axes"][0] == "PC1 (50.0% of the variance)"
    assert len(scatter["axes"]) == 3
    assert sorted(scatter["name"])[:2] == ["0/0 100%25.jpg", "0/10 100%25.jpg"]
    assert all(uri.startswith("data:image/webp;base64,") for uri in scatter["thumbnail"])


def test_missing_photos_cost_only_their_thumbnails(tmp_path: Path) -> None:
    html = write_html(tmp_path, Fake(has_photos=False))
    assert read_data(html)["scatter"]["thumbnail"] == [None] * 12
    assert "no thumbnails" in html


def test_map_of_one_component(tmp_path: Path) -> None:
    html = write_html(tmp_path, Fake(k=1))
    scatter = read_data(html)["scatter"]
    assert len(scatter["values"]) == len(scatter["axes"]) == 1
    assert "shows its only component" in html


def test_unlabelled_photos(tmp_path: Path) -> None:
    html = write_html(tmp_path, Fake(labels=(None,)))
    assert read_data(html)["scatter"]["labels"] == [None]
    assert "None of the 12 photos is labelled." in html


def test_without_reduction_the_page_says_so(tmp_path: Path) -> None:
    html = write_html(tmp_path, Fake(is_reduced=False))
    assert read_data(html) == {"scatter": None, "scree": None}
    assert "This result has no map" in html
    assert "This result has no curve" in html
    assert len(html) < 60_000  # without plotly.js


def test_components_alone(tmp_path: Path) -> None:
    """A result of `verger reduce` has neither features nor rejected, and no network."""
    result = make_result(tmp_path, Fake(manifest={"network": None, "counts": {}, "photos_per_s": None}))
    shutil.rmtree(result / "features")
    shutil.rmtree(result / "rejected")
    html = write_report(result, title="from features").read_text(encoding="utf-8")
    assert "<title>from features" in html
    assert "PCA reduced standardised features to 3 components." in html
    assert len(read_data(html)["scatter"]["label"]) == 12
    assert "no photo was read or rejected" in html
    assert "2 labels, 6 photos each" in html


def test_a_large_map_is_sampled_and_says_so(tmp_path: Path) -> None:
    result = make_result(tmp_path, Fake(n_photos=50, has_photos=False))
    html = write_report(result, max_points=20).read_text(encoding="utf-8")
    assert len(read_data(html)["scatter"]["label"]) == 20
    assert "A sample: 20 of 50 photos" in html
    assert write_report(result, max_points=20).read_text(encoding="utf-8") == html


def test_no_rejection_is_good_news(tmp_path: Path) -> None:
    html = write_html(tmp_path, Fake())
    assert "No photo was rejected; every photo could be read." in html


def test_rejections_have_descriptions(tmp_path: Path) -> None:
    rejected = tuple((f"file:/p/{i:03}.jpg", 10 * i, "truncated", "cut off") for i in range(120))
    html = write_html(tmp_path, Fake(rejected=(*rejected, ("file:/q/only.jpg", None, "empty", "zero bytes"))))
    assert "121 photos were rejected" in html
    assert "ends before the image is complete" in html
    assert "50 examples" in html
    assert "file:/q/only.jpg" in html
    assert html.count("file:/p/") == 49


def test_random_weights_have_a_banner(tmp_path: Path) -> None:
    network = {"weights_from": "random:7", "model": "MobileNetV2"}
    assert "features have no meaning" in write_html(tmp_path, Fake(manifest={"network": network}))


def test_trained_weights_have_no_banner(tmp_path: Path) -> None:
    assert "have no meaning" not in write_html(tmp_path, Fake())


def test_counts_that_do_not_add_up_are_reported(tmp_path: Path) -> None:
    html = write_html(tmp_path, Fake(manifest={"counts": {"listed": 13}}))
    assert "13 photos were listed, but the result holds 12" in html


def test_many_labels_are_a_list(tmp_path: Path) -> None:
    labels = tuple(f"fruit {i:03}" for i in range(100))
    page = report_page.read_page(
        make_result(tmp_path, Fake(n_photos=101, labels=labels, has_photos=False)), thumbnails_here
    )
    assert (len(page.labels.bars), len(page.labels.listed), page.labels.n_labels) == (20, 100, 100)
    assert page.labels.range_ == (1, 1, 2)
    assert page.labels.bars[0].label == "fruit 000"


def test_bare_manifest_is_enough(tmp_path: Path) -> None:
    result = make_result(tmp_path, Fake(rejected=(("p", None, "of the future", "d"),)))
    (result / "manifest.json").write_text('{"network": null, "timings_s": {}, "new": {"deep": {"a": []}}}')
    html = write_report(result).read_text(encoding="utf-8")
    assert "has no timings" in html
    assert "deep.a" in html
    assert "no description of this reason" in html


def test_nothing_but_rejections(tmp_path: Path) -> None:
    html = write_html(tmp_path, Fake(n_photos=0, rejected=(("file:/a", 0, "empty", "d"),)))
    assert "No photo could be featurized" in html
    assert "100.0% of the photos" in html


@pytest.mark.parametrize("content", [None, "{", "[]"])
def test_not_a_result(tmp_path: Path, content: str | None) -> None:
    result = make_result(tmp_path, Fake())
    (result / "manifest.json").unlink()
    if content is not None:
        (result / "manifest.json").write_text(content)
    with pytest.raises(ResultError, match=re.escape(str(result))):
        write_report(result)


def test_a_lone_manifest_is_not_a_result(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(ResultError, match="none of features, rejected"):
        write_report(tmp_path)


def test_garbled_spectrum_is_named(tmp_path: Path) -> None:
    result = make_result(tmp_path, Fake())
    (result / "model" / "spectrum.csv").write_text("component,cumulative_ratio\n1,x\n")
    with pytest.raises(ResultError, match=r"spectrum\.csv"):
        write_report(result)


@pytest.mark.browser
@pytest.mark.parametrize("k", [1, 3])
def test_page_works_in_a_browser_offline(tmp_path: Path, k: int) -> None:
    result = make_result(tmp_path, Fake(k=k, labels=("Apple", "Pear", HOSTILE[1])))
    write_report(result)
    report = result / "report.html"
    with chromium() as browser:
        page = browser.new_context(offline=True, viewport={"width": 1280, "height": 900}).new_page()
        troubles, requests = watch(page)
        page.goto(report.as_uri())
        check_map(page)
    assert troubles == []
    assert {url.partition(":")[0] for url in requests} <= {"file", "data"}
    assert [url for url in requests if url.startswith("file:")] == [report.as_uri()]


def watch(page: Any) -> tuple[list[str], list[str]]:
    """Return lists that collect the errors of the page and the URLs it requests."""
    troubles: list[str] = []
    requests: list[str] = []

    def dismiss(dialog: Any) -> None:
        troubles.append(f"dialog {dialog.message}")
        dialog.dismiss()

    page.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("dialog", dismiss)
    page.on("request", lambda request: requests.append(request.url))
    return troubles, requests


def check_map(page: Any) -> None:
    points = page.locator("#map-plot .points path")
    points.first.wait_for()
    assert points.count() == 12
    assert not page.locator("#card").is_visible()
    hover(page, points.first)
    assert page.locator("#card-image").evaluate("image => image.complete && image.naturalWidth") > 0
    assert page.locator("#card-label").inner_text() in {"Apple", "Pear", HOSTILE[1]}
    titles = page.locator(".modebar-btn").evaluate_all("buttons => buttons.map((b) => b.dataset.title)")
    assert not any("cloud" in str(title).lower() for title in titles)
    page.locator("#legend-list li", has_text="Apple").locator("input").uncheck()
    assert points.count() == 8
    page.locator("#legend-search").fill("pear")
    assert page.locator("#legend-list li:visible").count() == 1
    page.locator("#legend-none").click()
    assert points.count() == 4
    assert page.locator("#scree-plot .bars path").count() == 6


def hover(page: Any, point: Any) -> None:
    point.scroll_into_view_if_needed()
    box = point.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=3)
    page.locator("#card").wait_for(state="visible")
