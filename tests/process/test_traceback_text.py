from __future__ import annotations

import subprocess
import sys

import pytest

from verger.process.traceback_text import innermost_error

CHAIN = """
def fail():
    try:
        {}["key"]
    except KeyError as error:
        raise ValueError("outer") from error
"""


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        (f"{CHAIN}\nfail()", "KeyError: 'key'"),
        ("raise RuntimeError", "RuntimeError"),
        ("raise OSError(28, 'No space left on device', '/a: b')", None),
        ("try:\n    1 / 0\nexcept ZeroDivisionError:\n    raise ValueError('while handling it')", None),
        ("raise ValueError('first line\\n  second: line')", "ValueError: first line"),
        ("class Odd(Exception): pass\nraise Odd('message')", "Odd: message"),
    ],
)
def test_it_finds_the_innermost_error_of_a_real_traceback(code: str, expected: str | None) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    last = done.stderr.strip().splitlines()[-1]
    assert innermost_error(f"a line of a log\n{done.stderr}") == (expected or last)


def test_the_last_of_several_tracebacks_counts() -> None:
    texts = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False).stderr
        for code in (f"{CHAIN}\nfail()", "import no_such_module")
    ]
    assert innermost_error("".join(texts)) == "ModuleNotFoundError: No module named 'no_such_module'"
    assert innermost_error("".join(reversed(texts))) == "KeyError: 'key'"
    assert innermost_error("no traceback: at all") is None
