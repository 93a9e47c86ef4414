"""`python waiting_driver.py FOLDER`: a driver whose tasks do not end; each leaves a file in FOLDER."""

from __future__ import annotations

import sys

from tests.support.engine_tasks import leave_file_and_wait
from verger.engine.local.local_options import LocalOptions
from verger.engine.local.pool import local_engine

if __name__ == "__main__":
    with local_engine(LocalOptions(n_workers=2)) as engine:
        engine.map(leave_file_and_wait, range(4), sys.argv[1])
