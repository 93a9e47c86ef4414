from __future__ import annotations

import errno
import fcntl
import multiprocessing
import os
import shutil
import signal
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest

from verger.errors import ResultError, SpaceError
from verger.storage.commit import check_not_read, local_folder, stage_result
from verger.storage.uri import any_path


def put(out: Path, text: str, *, overwrite: bool = False, resume: bool = False) -> None:
    with stage_result(out, overwrite=overwrite, resume=resume) as stage:
        (stage / "data").mkdir()
        (stage / "data" / "x").write_text(text)
        (stage / "manifest.json").write_text("{}")


def beside(out: Path) -> list[str]:
    return sorted(p.name for p in out.parent.iterdir() if p != out)


def test_a_result_appears_whole_and_alone(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    put(out, "one")
    assert (out / "data" / "x").read_text() == "one"
    assert beside(out) == []


def test_an_existing_result_needs_overwrite_and_is_then_replaced(tmp_path: Path) -> None:
    out = tmp_path / "out"
    put(out, "one")
    with pytest.raises(ResultError, match="--overwrite"):
        put(out, "two")
    assert (out / "data" / "x").read_text() == "one"
    put(out, "two", overwrite=True)
    assert (out / "data" / "x").read_text() == "two"
    assert beside(out) == []


def test_a_failed_run_leaves_the_last_good_result(tmp_path: Path) -> None:
    out = tmp_path / "out"
    put(out, "one")
    with pytest.raises(ValueError, match="half-way"), stage_result(out, overwrite=True) as stage:
        (stage / "data").mkdir()
        raise ValueError("half-way")
    assert (out / "data" / "x").read_text() == "one"
    assert beside(out) == []


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_that_is_no_result_is_never_replaced(tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "1.jpg").touch()
    with pytest.raises(ResultError, match="not a result of verger"):
        put(tmp_path / "photos", "one", overwrite=overwrite)
    assert (tmp_path / "photos" / "1.jpg").exists()


@pytest.mark.parametrize(
    ("manifest", "may_be_resumed"),
    [
        ('{"command": "run"}', True),
        ('{"command": "features"}', True),
        ('{"command": "pack"}', False),
        ('{"name": "an app"}', False),
        ("[]", False),
        ("no JSON", False),
    ],
)
def test_a_run_that_resumes_replaces_results_of_runs_only(
    tmp_path: Path, manifest: str, may_be_resumed: bool
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "manifest.json").write_text(manifest)
    if not may_be_resumed:
        with pytest.raises(ResultError, match=r"cannot continue: add --overwrite"):
            put(out, "one", resume=True)
        assert (out / "manifest.json").read_text() == manifest and beside(out) == []
    put(out, "one", resume=True, overwrite=not may_be_resumed)
    assert (out / "data" / "x").read_text() == "one"


@pytest.mark.parametrize(
    ("source", "out", "is_read"),
    [
        ("out", "out", True),
        ("out/features", "out", True),
        ("file:{}/out/features", "out", True),
        ("link/features", "out", True),
        ("out/features", "link", True),
        ("out/feat*/part-*", "out", True),
        ("out/[a]", "out", True),
        ("photos", "photos/out", False),
        ("photos/*/good", "photos/out", False),
        ("*", "out", False),
        ("output", "out", False),
        ("s3://bucket/out", "out", False),
        ("hdfs://host/out", "out", False),
        ("s3://bucket/out/*.jpg", "s3a://bucket/out", True),
        ("s3://bucket/photos/*", "s3a://bucket/photos/out", False),
        ("out", "s3a://bucket/out", False),
    ],
)
def test_what_is_read_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, out: str, is_read: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("out/features", "out/[a]", "output", "photos/out"):
        Path(folder).mkdir(parents=True)
    Path("link").symlink_to("out")
    source = source.format(tmp_path)
    with pytest.raises(ResultError, match="would replace the source") if is_read else nullcontext():
        check_not_read(any_path(out), [source])


def test_an_empty_folder_may_be_filled(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    put(tmp_path / "out", "one")
    assert (tmp_path / "out" / "data" / "x").read_text() == "one"


def test_two_runs_on_one_result_do_not_mix(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with stage_result(out, overwrite=False) as stage:
        (stage / "manifest.json").write_text("{}")
        with pytest.raises(ResultError, match="another run"):
            put(out, "two")
    assert list(out.iterdir()) == [out / "manifest.json"]


def _die_inside(out: Path) -> None:
    with stage_result(out, overwrite=True) as stage:
        (stage / "data").mkdir()
        (stage / "data" / "half").touch()
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_run_leaves_nothing_that_looks_whole_and_the_next_clears_up(tmp_path: Path) -> None:
    out = tmp_path / "out"
    put(out, "one")
    dying = multiprocessing.get_context("spawn").Process(target=_die_inside, args=(out,))
    dying.start()
    dying.join()
    assert dying.exitcode == -signal.SIGKILL
    assert (out / "data" / "x").read_text() == "one"
    put(out, "two", overwrite=True)
    assert sorted(p.name for p in (out / "data").iterdir()) == ["x"]
    assert beside(out) == []


def test_where_folders_cannot_be_exchanged_two_renames_do_and_recover(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("verger.storage.commit.local_folder._exchange", lambda one, other: False)
    out = tmp_path / "out"
    put(out, "one")
    put(out, "two", overwrite=True)
    assert (out / "data" / "x").read_text() == "two"
    out.rename(tmp_path / ".out.verger-previous")  # as if the power failed between the renames
    with pytest.raises(ResultError, match="--overwrite"):
        put(out, "three")
    assert (out / "data" / "x").read_text() == "two"


def test_a_rename_that_fails_between_the_two_puts_the_old_result_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("verger.storage.commit.local_folder._exchange", lambda one, other: False)
    out = tmp_path / "out"
    put(out, "one")
    real = Path.rename

    def rename(path: Path, target: Path) -> Path:
        if path.name.startswith("run-"):
            raise KeyboardInterrupt
        return real(path, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(KeyboardInterrupt):
        put(out, "two", overwrite=True)
    assert (out / "data" / "x").read_text() == "one"
    assert beside(out) == []


@pytest.mark.parametrize("can_exchange", [False, True])
def test_a_result_is_on_the_disk_before_the_old_one_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, can_exchange: bool
) -> None:
    out = tmp_path / "out"
    put(out, "one")
    flushed: set[int] = set()
    n_removed: list[int] = []

    def fsync(handle: int) -> None:
        flushed.add(os.fstat(handle).st_ino)
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "as some file systems say of folders")

    def switch(result: Path, out: Path) -> None:
        assert {path.stat().st_ino for path in (result, *result.rglob("*"))} <= flushed
        flushed.clear()
        real_switch(result, out)

    def rmtree(folder: Path, ignore_errors: bool = False) -> None:
        assert tmp_path.stat().st_ino in flushed
        n_removed.append(1)
        real_rmtree(folder, ignore_errors)

    real_switch, real_rmtree = local_folder._switch, shutil.rmtree
    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(local_folder, "_switch", switch)
    monkeypatch.setattr(shutil, "rmtree", rmtree)
    if not can_exchange:
        monkeypatch.setattr(local_folder, "_exchange", lambda one, other: False)
    put(out, "two", overwrite=True)
    assert n_removed and (out / "data" / "x").read_text() == "two"


def test_a_disk_that_is_full_as_the_result_is_flushed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "out", "one")

    def fsync(handle: int) -> None:
        raise OSError(errno.ENOSPC, "as a network disk may say this late")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(SpaceError, match="disk is full"):
        put(tmp_path / "out", "two", overwrite=True)
    assert (tmp_path / "out" / "data" / "x").read_text() == "one"


@pytest.mark.parametrize("overwrite", [False, True])
def test_an_interrupt_after_the_switch_is_told_as_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overwrite: bool
) -> None:
    """Otherwise the command line would report that nothing was changed."""
    out = tmp_path / "out"
    if overwrite:
        put(out, "one")
    real = local_folder._switch

    def switch(*paths: Path) -> None:
        real(*paths)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(local_folder, "_switch", switch)
        with pytest.raises(ResultError, match="new result") as raised:
            put(out, "two", overwrite=overwrite)
    assert isinstance(raised.value.__cause__, KeyboardInterrupt)
    assert (out / "data" / "x").read_text() == "two"
    assert beside(out) == []


@pytest.mark.parametrize("is_followed", [False, True])
def test_a_run_that_comes_as_another_ends_takes_no_folder_that_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_followed: bool
) -> None:
    """It opens the staging folder just before an ending run removes it; a third run may then create and lock it."""
    out, place = tmp_path / "out", tmp_path / ".out.verger-staging"
    real = fcntl.flock
    third: list[int] = []

    def flock(handle: int, how: int) -> None:
        if not third:
            place.rmdir()
            place.mkdir()
            third.append(os.open(place, os.O_RDONLY))
            real(third[0], fcntl.LOCK_EX)
            if not is_followed:
                place.rmdir()
        real(handle, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    if is_followed:
        with pytest.raises(ResultError, match="another run"):
            put(out, "one")
    else:
        put(out, "one")
        assert (out / "data" / "x").read_text() == "one"
    os.close(third[0])


def test_the_lock_is_one_that_holds_between_hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on NFS: only the lock of a file open for writing holds between hosts, not that of a folder."""
    place = tmp_path / ".out.verger-staging"
    place.mkdir()
    elsewhere = os.open(place / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(elsewhere, fcntl.LOCK_EX)
    with pytest.raises(ResultError, match="another run"):
        put(tmp_path / "out", "one")
    os.close(elsewhere)
    put(tmp_path / "out", "one")
    assert (tmp_path / "out" / "data" / "x").read_text() == "one" and beside(tmp_path / "out") == []

    locked: list[int] = []
    real = fcntl.flock

    def flock(handle: int, how: int) -> None:
        real(handle, how)
        locked.append(handle)

    monkeypatch.setattr(fcntl, "flock", flock)
    with stage_result(tmp_path / "other", overwrite=False) as stage:
        writable = [handle for handle in locked if fcntl.fcntl(handle, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDWR]
        assert [stat.S_ISREG(os.fstat(handle).st_mode) for handle in writable] == [True]
        (stage / "manifest.json").write_text("{}")


@pytest.mark.parametrize("is_followed", [False, True])
def test_a_run_that_comes_as_one_of_another_host_ends_takes_no_lock_that_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_followed: bool
) -> None:
    out, lock = tmp_path / "out", tmp_path / ".out.verger-staging" / "lock"
    real = fcntl.flock
    third: list[int] = []

    def flock(handle: int, how: int) -> None:
        if not third and stat.S_ISREG(os.fstat(handle).st_mode):
            lock.unlink()
            third.append(os.open(lock, os.O_RDWR | os.O_CREAT))
            real(third[0], fcntl.LOCK_EX)
            if not is_followed:
                lock.unlink()
        real(handle, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(ResultError, match="another run") if is_followed else nullcontext():
        put(out, "one")
    assert out.exists() is not is_followed
    os.close(third[0])


def test_where_files_have_no_locks_that_of_the_folder_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = fcntl.flock

    def flock(handle: int, how: int) -> None:
        if stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.ENOSYS, "as some file systems say")
        real(handle, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    with stage_result(tmp_path / "out", overwrite=False) as stage:
        (stage / "manifest.json").write_text("{}")
        with pytest.raises(ResultError, match="another run"):
            put(tmp_path / "out", "two")
    assert beside(tmp_path / "out") == []


@contextmanager
def disk(folder: Path, options: str) -> Iterator[None]:
    """Mount a small disk at a folder."""
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", f"size=64k,{options}", "tmpfs", str(folder)]
    if os.getuid() != 0 or subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("needs root, and a system that lets it mount a small disk")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def test_an_out_on_a_read_only_disk_is_named_and_not_the_hidden_folder(tmp_path: Path) -> None:
    out = tmp_path / "disk" / "out"
    message = f"^the result cannot be written to {out}: Read-only file system \\({tmp_path}/disk\\): choose another"
    with disk(tmp_path / "disk", "ro"), pytest.raises(ResultError, match=message):
        put(out, "one")


def test_an_out_that_becomes_read_only_is_named(tmp_path: Path) -> None:
    out = tmp_path / "out"
    message = rf"^the result cannot be written to {out}: Read-only file system \({tmp_path}\)"
    with pytest.raises(ResultError, match=message), stage_result(out, overwrite=False) as stage:
        raise OSError(errno.EROFS, "Read-only file system", str(stage / "features" / "part.parquet"))


def test_a_full_disk_is_reported_by_every_command(tmp_path: Path) -> None:
    out = tmp_path / "disk" / "out"
    with disk(tmp_path / "disk", "rw"), pytest.raises(SpaceError, match=rf"free: .* in {tmp_path}/disk"):
        put(out, "x" * 200_000)


@pytest.mark.parametrize("name", ["file/out", "file/deep/out"])
def test_a_parent_that_is_no_folder_is_named(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    message = f"cannot be written to {tmp_path / name}: {tmp_path}/file is not a folder"
    with pytest.raises(ResultError, match=message):
        put(tmp_path / name, "one")


def test_errors_about_other_files_stay_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), stage_result(tmp_path / "out", overwrite=False):
        raise PermissionError(errno.EACCES, "Permission denied", "/photos/a.jpg")


def test_a_used_up_quota_is_called_that(tmp_path: Path) -> None:
    staged = stage_result(tmp_path / "out", overwrite=False)
    with pytest.raises(SpaceError, match="a disk quota is used up; free: "), staged:
        raise OSError(errno.EDQUOT, "Disk quota exceeded")
