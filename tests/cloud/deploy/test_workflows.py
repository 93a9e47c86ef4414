"""The workflows of GitHub: no stored key, no more rights than a job needs, nothing that can change unseen."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
ACTIONLINT = "github.com/rhysd/actionlint/cmd/actionlint@v1.7.7"

JOB = re.compile(r"^  (\w+):\n((?:    .*\n|\n)+)", re.MULTILINE)


def jobs(workflow: Path) -> dict[str, str]:
    _, _, text = workflow.read_text().partition("\njobs:\n")
    return dict(JOB.findall(text))


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_pinned_by_commit_and_say_their_version(workflow: Path) -> None:
    used = re.findall(r"uses: (.*)", workflow.read_text())
    theirs = [action for action in used if not action.startswith("./")]
    assert theirs and all(re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action) for action in theirs)


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_no_key_is_stored_and_rights_are_a_jobs_own(workflow: Path) -> None:
    text = workflow.read_text()
    assert "secrets." not in text and "access-key" not in text and "pull_request_target" not in text
    assert "\npermissions:\n  contents: read\n\n" in text
    assert jobs(workflow)
    for name, job in jobs(workflow).items():
        if "write" in "".join(re.findall(r"permissions:\n((?:      .*\n)+)", job)):
            assert re.search(r"^    environment: \w+$", job, re.MULTILINE), f"{name} asks nobody"
            assert "actions/checkout" not in job, f"{name} runs what is not built and looked at yet"


def test_a_release_keeps_the_weights_that_jobs_were_submitted_with() -> None:
    (sync,) = re.findall(r"aws s3 sync .*", (ROOT / ".github" / "workflows" / "release.yml").read_text())
    assert "--delete" in sync and '--exclude "files/*"' in sync, "`submit` brings them to packages/files/"


@pytest.mark.cloud
def test_actionlint_has_nothing_to_say() -> None:
    if shutil.which("go") is None:
        pytest.skip("needs Go, which fetches actionlint")
    command = ["go", "run", ACTIONLINT, *map(str, WORKFLOWS)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert WORKFLOWS and done.returncode == 0, done.stdout + done.stderr
