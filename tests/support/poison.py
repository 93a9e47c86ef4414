"""Photos that kill or hang the process that decodes them, like a bug in a decoder's C code or too little memory.

And photos whose reading stalls, like those on a network drive that does not answer.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

# The last bytes of the photos; only the decoder below looks at them.
DEADLY = {sent: b"ends by signal %d" % sent for sent in (signal.SIGABRT, signal.SIGSEGV, signal.SIGKILL)}
_HANGING = b"never ends"
# The end of the names of files that never open.
STALLING = "stalls.png"

# Python imports a module of this name as it starts, in workers and their children too.
_NAME = "sitecustomize.py"
_SITE = r"""
import os, re, time

open_file = os.open

def open_or_stall(path, *arguments, **options):
    while isinstance(path, str) and path.endswith("stalls.png"):
        time.sleep(1)
    return open_file(path, *arguments, **options)

os.open = open_or_stall

from verger.kernel import decode

decode_image = decode.decode_image

def decode_or_die(data, **options):
    if deadly := re.search(rb"ends by signal (\d+)$", data):
        os.kill(os.getpid(), int(deadly[1]))
    while data.endswith(b"never ends"):
        time.sleep(1)
    return decode_image(data, **options)

decode.decode_image = decode.image.decode_image = decode_or_die
"""


def spoil(photo: Path, sent: signal.Signals) -> None:
    """Make a photo kill its decoder."""
    photo.write_bytes(photo.read_bytes() + DEADLY[sent])


def hang(photo: Path) -> None:
    """Make a photo hang its decoder."""
    photo.write_bytes(photo.read_bytes() + _HANGING)


def mortal(folder: Path) -> str:
    """Return a PYTHONPATH; in processes with it, such photos kill or hang the decoder."""
    (folder / _NAME).write_text(_SITE)
    return os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
