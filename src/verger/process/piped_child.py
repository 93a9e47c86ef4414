"""A child process that runs a module of verger, connected to this process by a pipe."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from multiprocessing import Pipe
from typing import IO

from verger.process.launch import module_command, module_environment


class PipedChild:
    """A running child process (`process`), and this process's end of the pipe to it (`connection`).

    The module's command-line arguments are the file descriptor of the child's end of the pipe, the pid of this
    process, and `arguments`.

    output: file for the child's stdout and stderr; None: the stdout and stderr of this process.
    Ctrl-C in the terminal does not reach the child: this process decides when it ends.
    """

    def __init__(
        self,
        module: str,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        output: IO[bytes] | None = None,
    ) -> None:
        self.connection, theirs = Pipe()
        with theirs:
            try:
                self.process = subprocess.Popen(
                    module_command(module, str(theirs.fileno()), str(os.getpid()), *arguments),
                    env=module_environment() | dict(environment or {}),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                )
            except BaseException:
                self.connection.close()
                raise

    def wait(self) -> str:
        """Close the pipe and wait until the child ends; return its signal or exit code as text."""
        self.connection.close()
        code = self.process.wait()
        return f"signal {-code}" if code < 0 else f"exit code {code}"
