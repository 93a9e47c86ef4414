"""A process that upgrades a database and adds observations, one transaction each, and acknowledges each of them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

from tests.support.observations import new_observation
from verger.database.connection import open_database
from verger.database.observations import add_observation


class Writer:
    """Such a process. It waits for `start_at_once` when it has imported everything."""

    def __init__(self, url: str, number: int, n_observations: int) -> None:
        command = [sys.executable, "-m", __name__, url, str(number), str(n_observations)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, text=True, stdin=pipe, stdout=pipe, stderr=pipe)

    def read(self) -> str:
        """Wait for the id of the next observation that is stored; empty at the end."""
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def finish(self) -> list[str]:
        """Wait for the end; return the ids, of which none may have been read."""
        output, errors = self.process.communicate(timeout=300)
        assert self.process.returncode == 0, errors
        return output.split()

    def kill(self) -> list[str]:
        """Kill the process (SIGKILL); return the ids that it has acknowledged and that have not been read."""
        assert self.process.stdout
        self.process.kill()
        output = self.process.stdout.read()  # communicate() would omit what readline() has buffered
        self.process.communicate()
        whole_lines = output[: output.rfind("\n") + 1]
        return whole_lines.split()


def start_at_once(writers: Sequence[Writer]) -> None:
    """Let processes that are ready begin."""
    for writer in writers:
        assert writer.read() == "ready"
    for writer in writers:
        assert writer.process.stdin
        writer.process.stdin.write("go\n")
        writer.process.stdin.flush()


def main(url: str, number: str, n_observations: str) -> None:
    """Upgrade, add, print."""
    database = open_database(url)
    print("ready", flush=True)
    sys.stdin.readline()
    database.upgrade()
    database.check()
    for step in range(int(n_observations)):
        key = f"{number}-{step}"
        stored, _ = add_observation(database, new_observation(f"{key}/0", f"{key}/1", idempotency_key=key))
        print(stored.id, flush=True)
    database.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
