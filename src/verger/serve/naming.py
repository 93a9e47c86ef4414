"""The steps from the photos of a request to an answer."""

from __future__ import annotations

from dataclasses import dataclass

from verger.serve.answers import Identification, answer
from verger.serve.languages import Language
from verger.serve.metrics import DECISIONS
from verger.serve.recognizer import Recognition
from verger.serve.sent_photos import SentPhotos, load_photos
from verger.serve.state import Service


@dataclass(frozen=True)
class NamedPhotos:
    """The bytes of the photos of a request, and what they show."""

    photos: tuple[bytes, ...]
    recognition: Recognition
    identification: Identification


async def name_fruit(service: Service, sent: SentPhotos, language: Language) -> NamedPhotos:
    """Load the photos, compute the answer and count its decision.

    Raises ProblemError, OverloadedError, UndecodablePhotoError or SetupError.
    """
    settings = service.settings
    photos = await load_photos(sent, service.photos, settings.max_photo_bytes, settings.deadline_s)
    recognition = await service.recognizer.recognize(photos)
    identification = answer(recognition, service.recognizer, service.fruits, language)
    DECISIONS.labels(identification.decision).inc()
    return NamedPhotos(photos, recognition, identification)
