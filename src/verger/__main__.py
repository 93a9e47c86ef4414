"""The command `verger`, also as `python -m verger`.

The slow imports are inside a function, so that Ctrl-C during an import ends the program without a traceback.
"""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command line."""
    _use_utf8()
    try:
        from verger.cli import main as command_line
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:  # a library is broken, or another module has the same name
        from verger.process.failed_import import describe_failed_import

        print(f"error: {describe_failed_import(error)}", file=sys.stderr)
        sys.exit(1)
    command_line()


def _use_utf8() -> None:
    """Start this program again in Python's UTF-8 mode if names of files have another encoding (PYTHONUTF8=0).

    Otherwise tables and reports could not hold the names of some photos, or the name of OUT.
    """
    if sys.getfilesystemencoding() == "utf-8" or os.environ.get("PYTHONUTF8") == "1":
        return
    os.environ["PYTHONUTF8"] = "1"
    os.environ.setdefault("PYTHONIOENCODING", f"{getattr(sys.stdout, 'encoding', 'ascii')}:backslashreplace")
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606  # this program


def _remove_working_folder() -> None:
    """Remove the working folder, which `python -m` adds to sys.path: no module must be imported from it."""
    source_folder = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    try:
        working_folder = os.getcwd()
    except FileNotFoundError:  # it was removed
        return
    if source_folder != working_folder and not sys.flags.safe_path and sys.path[:1] == [working_folder]:
        del sys.path[0]


if __name__ == "__main__":
    _remove_working_folder()
    main()
