"""Photos that kill whoever decodes them: stands for a bug in a decoder's C code, and for a lack of memory."""

from __future__ import annotations

import os
import signal
from pathlib import Path

# What the photos end in; decoders pay no heed to it, but for the one below.
DEADLY = {sent: b"ends by signal %d" % sent for sent in (signal.SIGABRT, signal.SIGSEGV, signal.SIGKILL)}

# Python imports a module of this name as it starts, in workers and their children too.
_NAME = "sitecustomize.py"
_SITE = r"""
import os, re
from verger import decode

decode_image = decode.decode_image

def decode_or_die(data, **options):
    if deadly := re.search(rb"ends by signal (\d+)$", data):
        os.kill(os.getpid(), int(deadly[1]))
    return decode_image(data, **options)

decode.decode_image = decode_or_die
"""


def spoil(photo: Path, sent: signal.Signals) -> None:
    """Make a photo kill its decoder."""
    photo.write_bytes(photo.read_bytes() + DEADLY[sent])


def mortal(folder: Path) -> str:
    """Return the PYTHONPATH of processes whose decoder such photos kill."""
    (folder / _NAME).write_text(_SITE)
    return os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
