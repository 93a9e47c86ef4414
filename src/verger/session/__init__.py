"""Spark for a run, and for notebooks; read `run` first, then `jvm`."""

from verger.session.options import SessionOptions
from verger.session.run import Session, open_session, session

__all__ = ["Session", "SessionOptions", "open_session", "session"]
