"""However often an `up` is interrupted, what Terraform has begun is noted. Here a stand-in is Terraform."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.chain import wait_until
from verger.cli.app import EXIT_INTERRUPTED

pytestmark = pytest.mark.cloud

# What Terraform is to a signal: one SIGINT lets it end in good order, a second one has it drop everything, and
# like every Go program it dies of a pipe that nobody reads.
TERRAFORM = f"""#!{sys.executable}
import signal, sys, time
from pathlib import Path

asked = []
def ask(*_):
    asked.append(1) if not asked else sys.exit(1)

signal.signal(signal.SIGPIPE, signal.SIG_DFL)
signal.signal(signal.SIGINT, ask)
Path("begun").touch()
while not asked:
    time.sleep(0.05)
for _ in range(20):
    print('{{"type": "version"}}', flush=True)
    time.sleep(0.05)
Path("terraform.tfstate").write_text("noted")
sys.exit(1)
"""

# `verger cloud up`, less what asks AWS.
UP = """
from verger.cli import main
from verger.cloud.aws import Aws
from verger.cloud.deploy.terraform import terraform_of

Aws.check = lambda *_: None
Aws.up = lambda _, wanted, package, say: terraform_of(wanted).apply(say)
main()
"""
WORDS = ("cloud", "up", "--yes", "--package", ".", "--name", "orchard")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Terraform's folder of the deployment."""
    program = tmp_path / "bin" / "terraform"
    program.parent.mkdir()
    program.write_text(TERRAFORM)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("VERGER_STATE", str(tmp_path / "state"))
    found = tmp_path / "state" / "cloud" / "orchard" / "terraform"
    found.mkdir(parents=True)
    return found


def start(folder: Path, before: Sequence[str] = (), tty: int | None = None) -> subprocess.Popen[str]:
    """Start `up`, and wait until Terraform is at work; `tty`: its terminal."""
    up = subprocess.Popen(
        [*before, sys.executable, "-c", UP, *WORDS],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE if tty is None else None,
        text=True,
        start_new_session=tty is None,
        preexec_fn=None if tty is None else lambda: os.login_tty(tty),
    )
    wait_until((folder / "begun").exists, 60)
    return up


@pytest.mark.parametrize("signals", ["INT INT", "TERM HUP INT", "HUP"])
def test_whoever_interrupts_again_is_told_to_wait(folder: Path, signals: str) -> None:
    up = start(folder)
    for name in signals.split():
        up.send_signal(signal.Signals[f"SIG{name}"])
        time.sleep(0.3)
    _, output = up.communicate(timeout=60)
    assert (folder / "terraform.tfstate").read_text() == "noted", output
    assert up.returncode == EXIT_INTERRUPTED and "Traceback" not in output
    assert "Terraform is ending its requests: please wait" in output
    assert "`verger cloud down --name orchard` removes it" in output


def test_a_terminal_that_is_closed_takes_nothing_with_it(folder: Path) -> None:
    ours, theirs = os.openpty()
    up = start(folder, tty=theirs)
    os.close(theirs)
    os.close(ours)
    up.wait(60)
    assert (folder / "terraform.tfstate").read_text() == "noted"


def test_under_nohup_a_closed_terminal_is_nothing(folder: Path) -> None:
    up = start(folder, before=["nohup"])
    up.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        up.wait(2)
    up.send_signal(signal.SIGINT)
    up.communicate(timeout=60)
    assert up.returncode == EXIT_INTERRUPTED and (folder / "terraform.tfstate").exists()
