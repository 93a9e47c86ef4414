"""A stand-in for the service, with made-up answers: it can be slow, busy or refuse, and it counts what arrives."""

from __future__ import annotations

import contextlib
import io
import socket
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio.to_thread
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from PIL import Image
from starlette.datastructures import UploadFile

import verger
from verger.serve.security import HEADERS

STATIC = Path(verger.__file__).parent / "serve" / "static"

# id, English and French name, Latin name, family, months of the season
FRUITS: tuple[tuple[str, str, str, str, str, list[int]], ...] = (
    ("banana", "Banana", "Banane", "Musa acuminata", "Musaceae", []),
    ("apple", "Apple", "Pomme", "Malus domestica", "Rosaceae", [8, 9, 10, 11, 12]),
    ("pear", "Pear", "Poire", "Pyrus communis", "Rosaceae", [7, 8, 9, 10, 11, 12]),
    ("quince", "Quince", "Coing", "Cydonia oblonga", "Rosaceae", [9, 10, 11]),
    ("lemon", "Lemon", "Citron", "Citrus limon", "Rutaceae", [10, 11, 12, 1, 2, 3]),
    ("pomegranate", "Pomegranate", "Grenade", "Punica granatum", "Lythraceae", [9, 10, 11]),
)
NUTRITION = {
    "energy_kcal": 89,
    "carbohydrate_g": 22.8,
    "sugars_g": 12.2,
    "fibre_g": 2.6,
    "protein_g": 1.1,
    "fat_g": 0.3,
    "vitamin_c_mg": 8.7,
    "potassium_mg": 358,
}
WAIT_S = 30
VERSIONS = {"model": "EfficientNetLite2-9656183e", "classifier": "ab12cd34", "facts": "2026-11-30"}


@dataclass
class Received:
    """A request that has arrived."""

    method: str
    path: str
    headers: dict[str, str]
    photos: list[tuple[int, int]] = field(default_factory=list)  # width and height
    photo_bytes: list[bytes] = field(default_factory=list)
    form: dict[str, str] = field(default_factory=dict)
    json: Any = None


@dataclass
class Fault:
    """An answer other than 200: status, Retry-After, members of the problem."""

    status: int
    retry_after_s: int | None = None
    problem: dict[str, Any] = field(default_factory=dict)


@dataclass
class FakeService:
    """What the service answers, and what it has received."""

    shares: tuple[tuple[str, float], ...] = (("banana", 0.93), ("lemon", 0.04), ("pear", 0.01))
    decision: str = "sure"
    variety: str | None = "Lady Finger"
    faults: list[Fault] = field(default_factory=list)  # of the next requests with photos
    received: list[Received] = field(default_factory=list)
    observations: dict[str, str] = field(default_factory=dict)  # idempotency key -> id
    is_open: threading.Event = field(default_factory=threading.Event)  # answers about photos wait for it
    arrival: threading.Condition = field(default_factory=threading.Condition)
    url: str = ""

    def note(self, received: Received) -> None:
        """Add a request to those received."""
        with self.arrival:
            self.received.append(received)
            self.arrival.notify_all()

    def wait_for(self, method: str, path: str, n: int) -> list[Received]:
        """Wait until n requests have arrived; return all requests with this method and beginning of the path."""
        with self.arrival:
            self.arrival.wait_for(lambda: self.count(method, path) >= n, timeout=WAIT_S)
        return self.requests(method, path)

    def count(self, method: str, path: str) -> int:
        """Return how many requests with this method and beginning of the path have arrived."""
        return len(self.requests(method, path))

    def requests(self, method: str, path: str) -> list[Received]:
        """Return the requests with this method and beginning of the path."""
        return [one for one in self.received if one.method == method and one.path.startswith(path)]

    def answer(self, language: str, sizes: list[tuple[int, int]]) -> dict[str, Any]:
        """Return the answer to photos."""
        candidates = [
            {
                "species": species,
                "name": fact(species, language)["name"],
                "latin": fact(species, language)["latin"],
                "probability": probability,
                "variety": {"name": self.variety, "probability": 0.8} if self.variety and place == 0 else None,
                "facts": summary(species, language) if place < 3 else None,
            }
            for place, (species, probability) in enumerate(self.shares)
        ]
        return {
            "decision": self.decision,
            "candidates": candidates,
            "probability_not_a_fruit": 0.9 if self.decision == "not_a_fruit" else 0.01,
            "photos": [{"sha256": "0" * 64, "width": width, "height": height} for width, height in sizes],
            "versions": VERSIONS,
        }


def fact(fruit_id: str, language: str) -> dict[str, Any]:
    """Return everything about a fruit."""
    _, english, french, latin, family, months = next(row for row in FRUITS if row[0] == fruit_id)
    name = french if language == "fr" else english
    return summary_of(fruit_id, name, latin, family, months) | {
        "names": {"en": english, "fr": french},
        "origin": "Domesticated in the highlands of New Guinea some 7,000 years ago; today in all the tropics.",
        "season": {
            "months": months,
            "note": "Imported all year from the Canary Islands, Africa and Latin America.",
        },
        "nutrition": NUTRITION,
        "storage": "At room temperature, away from apples. In the refrigerator the skin turns brown.",
        "varieties": [
            {"name": "Lady Finger", "note": "Small and very sweet, with a thin skin."},
            {"name": "Red Dacca", "note": "Red skin, pink flesh, a note of raspberry."},
            {"name": "Blue Java", "note": "Tastes of vanilla ice cream; hardy to light frost."},
        ],
        "conservation": "Nearly half of the world's harvest is one clone, Cavendish. A soil fungus, Panama "
        "disease, threatens it; more than 1,000 other bananas keep the genes that could save it.",
        "sources": [
            {"field": "nutrition", "name": "USDA FoodData Central", "reference": "FDC 1105314"},
            {"field": "origin", "name": "Perrier et al. 2011", "reference": "PNAS 108(28)"},
        ],
        "version": "2026-11-30",
    }


def summary_of(fruit_id: str, name: str, latin: str, family: str, months: list[int]) -> dict[str, Any]:
    """Return the members of a FruitSummary."""
    return {
        "id": fruit_id,
        "name": name,
        "latin": latin,
        "family": family,
        "in_season": bool(months),
        "url": f"/v1/fruits/{fruit_id}",
    }


def summary(fruit_id: str, language: str) -> dict[str, Any]:
    """Return the FruitSummary of a fruit."""
    keys = ("id", "name", "latin", "family", "in_season", "url")
    content = fact(fruit_id, language)
    return {key: content[key] for key in keys}


def language_of(request: Request) -> str:
    """Return the language of the answer."""
    return "fr" if request.headers.get("accept-language", "").startswith("fr") else "en"


async def receive(request: Request, fake: FakeService) -> Received:
    """Note a request, with what it contains."""
    received = Received(request.method, request.url.path, dict(request.headers))
    media_type = request.headers.get("content-type", "")
    if media_type.startswith("multipart/"):
        async with request.form() as form:
            for name, value in form.multi_items():
                if isinstance(value, UploadFile):
                    received.photo_bytes.append(await value.read())
                else:
                    received.form[name] = value
        received.photos = [size_of(photo) for photo in received.photo_bytes]
    elif media_type == "application/json":
        received.json = await request.json()
    fake.note(received)
    return received


def size_of(photo: bytes) -> tuple[int, int]:
    """Return width and height; (0, 0) if it is no photo."""
    try:
        with Image.open(io.BytesIO(photo)) as image:
            return image.size
    except OSError:
        return (0, 0)


def refusal(fault: Fault) -> Response:
    """Return the answer of a fault."""
    headers = {} if fault.retry_after_s is None else {"Retry-After": str(fault.retry_after_s)}
    content = {"type": "about:blank", "title": "", "status": fault.status, "detail": ""} | fault.problem
    return JSONResponse(content, fault.status, headers, "application/problem+json")


def create_app(fake: FakeService) -> FastAPI:
    """Return the application."""
    app = FastAPI(openapi_url=None)

    @app.middleware("http")
    async def add_headers(request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    @app.post("/v1/identify")
    async def identify(request: Request) -> Response:
        received = await receive(request, fake)
        await anyio.to_thread.run_sync(fake.is_open.wait)
        if fake.faults:
            return refusal(fake.faults.pop(0))
        language = language_of(request)
        return JSONResponse(fake.answer(language, received.photos), headers={"Content-Language": language})

    @app.get("/v1/fruits")
    async def list_fruits(request: Request, q: str = "", limit: int = 20, offset: int = 0) -> Response:
        fake.note(Received("GET", "/v1/fruits", dict(request.headers)))
        found = [row[0] for row in FRUITS if q.casefold() in " ".join(row[1:4]).casefold()]
        items = [summary(fruit_id, language_of(request)) for fruit_id in found][offset : offset + limit]
        return JSONResponse({"items": items, "total": len(found), "limit": limit, "offset": offset})

    @app.get("/v1/fruits/{fruit_id}")
    async def get_fruit(request: Request, fruit_id: str) -> Response:
        if fruit_id not in {row[0] for row in FRUITS}:
            return refusal(Fault(404))
        return JSONResponse(fact(fruit_id, language_of(request)), headers={"Vary": "Accept-Language"})

    add_observation_routes(app, fake)
    add_files(app)
    return app


def add_observation_routes(app: FastAPI, fake: FakeService) -> None:
    """Add the routes of observations."""

    @app.post("/v1/observations")
    async def keep(request: Request) -> Response:
        received = await receive(request, fake)
        if fake.faults:
            return refusal(fake.faults.pop(0))
        key = request.headers.get("idempotency-key", str(uuid.uuid4()))
        is_new = key not in fake.observations
        observation = fake.observations.setdefault(key, str(uuid.uuid4()))
        identification = fake.answer(language_of(request), received.photos)
        return JSONResponse({"id": observation, "identification": identification}, 201 if is_new else 200)

    @app.post("/v1/observations/{observation}/feedback")
    async def take_feedback(request: Request, observation: str) -> Response:
        received = await receive(request, fake)
        return JSONResponse(received.json)

    @app.delete("/v1/observations/{observation}")
    async def delete_one(request: Request, observation: str) -> Response:
        await receive(request, fake)
        return Response(status_code=204)

    @app.delete("/v1/observations")
    async def delete_all(request: Request) -> Response:
        await receive(request, fake)
        return Response(status_code=204)


def add_files(app: FastAPI) -> None:
    """Serve the page and its files."""

    @app.get("/")
    async def page() -> Response:
        return FileResponse(STATIC / "index.html")

    @app.get("/sw.js")
    async def worker() -> Response:
        return FileResponse(STATIC / "sw.js", media_type="text/javascript")

    @app.get("/manifest.webmanifest")
    async def manifest() -> Response:
        return FileResponse(STATIC / "manifest.webmanifest", media_type="application/manifest+json")

    @app.get("/healthz")
    async def is_alive() -> Response:
        return JSONResponse({"status": "ok"})

    app.mount("/static", StaticFiles(directory=STATIC))


@contextlib.contextmanager
def serve(fake: FakeService) -> Iterator[None]:
    """Serve a fake on a free port of this machine; `fake.url` is its address."""
    fake.is_open.set()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        fake.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        config = uvicorn.Config(
            create_app(fake), log_level="warning", ws="none", lifespan="off", timeout_graceful_shutdown=2
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield
        finally:
            fake.is_open.set()
            server.should_exit = True
            thread.join()
