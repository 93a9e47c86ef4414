"""`python -m tests.support.interrupted MODULE WORDS...`: the command line with a Ctrl-C as it imports MODULE."""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType


class Interrupting(MetaPathFinder):
    """Import hook that finds no module, but sees every import."""

    def __init__(self, module: str) -> None:
        self.module: str | None = module

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        if fullname == self.module and threading.current_thread() is threading.main_thread():
            self.module = None
            os.kill(os.getpid(), signal.SIGINT)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.meta_path.insert(0, Interrupting(sys.argv.pop(1)))
    runpy.run_module("verger", run_name="__main__")
