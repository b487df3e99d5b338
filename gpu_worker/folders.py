"""The folders of one run: what its trial may write, what its scorer gets, and how all of it goes away.

trial/  out/  tmp/  report.jsonl      the trial's; after it, out/ is read-only
score/  score-tmp/                    the scorer's, with the hidden files; laid out when no process of the trial lives
predict/  predict-tmp/                the predictor's, laid out with the scorer's
"""

import json
import os
import stat
from collections import Counter
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from gpu_worker.limits import MAX_FILES
from gpu_worker.public_data import restore
from gpu_worker.sandbox import shared_memory
from gpu_worker.sandbox.tiers import Sandbox
from mesh.file_trees import MAX_DEPTH, TooDeep, delete, open_folder, set_mode, walk
from mesh.frozen_data import PREPARED

_SHARED = "shared-memory.json"
"""What this user had in `/dev/shm` when the run began, where the trial uses the same."""

_MAX_COPIED_BYTES = 1024**2
"""Bytes of a prepared file that each trial gets a copy of, which it may change; a larger one is a link to the data."""

TRIAL_WRITES = ("trial", "out", "tmp", "report.jsonl")
"""What a trial may write, by its names in the run's folder."""


NO_LINKS: Mapping[str, str] = {}


class BadOutput(Exception):
    """What a trial left cannot be scored; the message is a sentence about the trial."""


def lay_out_trial(
    run: Path,
    files: Mapping[str, bytes],
    editable: Sequence[str],
    sandbox: Sandbox,
    *,
    data: Path | None = None,
    home: Mapping[str, str] = NO_LINKS,
    begin: Callable[[Path, Mapping[str, bytes]], None] | None = None,
) -> None:
    """Make the trial's folders in `run`; they belong to the user that it runs as, who may write every file.

    Many harnesses write into their own folder. `changed_protected` says which protected files it changed.

    Modes and times of the frozen `data` are set back, except where its mount was read-only to earlier trials. `home`
    are links in its `HOME`, by name. `begin` is called with its folder `trial` and the files that were written there.

    Raises:
        OSError: this machine cannot (disk full, no permission).
    """
    lay_out_closed(run, files, sandbox, data=data, home=home, begin=begin)
    open_trial(run, sandbox, data=data)


def lay_out_closed(
    run: Path,
    files: Mapping[str, bytes],
    sandbox: Sandbox,
    *,
    data: Path | None = None,
    home: Mapping[str, str] = NO_LINKS,
    begin: Callable[[Path, Mapping[str, bytes]], None] | None = None,
) -> None:
    """Make the trial's folders in `run` and let no other user enter it: the trial before it may still go on.

    Arguments as of `lay_out_trial`; `open_trial` is to follow.

    Raises:
        OSError: this machine cannot (disk full, no permission).
    """
    _reopen(run.parent)
    delete(run)
    run.mkdir(mode=0o700, parents=True)
    write_files(run / "trial", files, files)
    lay_out_prepared(run / "trial", data)
    if begin:
        begin(run / "trial", files)
    for name in ("out", "tmp"):
        (run / name).mkdir()
    _link(run / "tmp", home)
    (run / "report.jsonl").touch()
    sandbox.give([run / name for name in TRIAL_WRITES])


def open_trial(run: Path, sandbox: Sandbox, *, data: Path | None = None) -> None:
    """Let the trial in, for which `lay_out_closed` has made folders; call it when no process of an earlier one lives.

    Raises:
        OSError: this machine cannot.
    """
    sweep_outside(run, sandbox)
    if data and sandbox.tier != "A":
        restore(data)
    if sandbox.shares_user:
        (run / _SHARED).write_text(json.dumps(shared_memory.listing()))
    run.chmod(0o711)


def lay_out_score(
    run: Path,
    files: Mapping[str, bytes],
    editable: Sequence[str],
    sandbox: Sandbox,
    *,
    predicts: bool = False,
    hidden: Mapping[str, bytes] | None = None,
    home: Mapping[str, str] = NO_LINKS,
    data: Path | None = None,
    unseen: Container[str] = (),
) -> None:
    """Make the scorer's folders in `run`, and the trial's output read-only; call it when no process of the trial lives.

    `unseen` are files that the scorer does not get: new ones of a proposal could hide its modules.
    `predicts` says whether there is a predictor, which gets folders of its own, without the `hidden` files. `home` are
    links in the `HOME` of both.

    Raises:
        BadOutput: what the trial left cannot be scored.
        OSError: this machine cannot.
    """
    _reopen(run)
    sweep_outside(run, sandbox)
    for name in ("score", "score-tmp", "predict", "predict-tmp"):
        delete(run / name)  # a trial without a sandbox could have put something there
    seen = {name: body for name, body in files.items() if name not in unseen}
    write_files(run / "score", {**seen, **(hidden or {})}, editable)
    lay_out_prepared(run / "score", data)
    if predicts:
        write_files(run / "predict", files, editable)
        lay_out_prepared(run / "predict", data)
    for name in ("score-tmp", "predict-tmp") if predicts else ("score-tmp",):
        (run / name).mkdir()
        _link(run / name, home)
        sandbox.give([run / name], scorer=name == "score-tmp")
    _freeze(run / "out")


def deleted(run: Path, sandbox: Sandbox) -> str:
    """Return the sentence that a folder of a run was deleted while it ran, "" if none was.

    Its own processes cannot delete these folders in the tiers that keep them inside; elsewhere nobody knows who did.
    """
    if sandbox.tier in "DE" or all(os.path.lexists(run / name) for name in TRIAL_WRITES):
        return ""
    return f"the folder {run} was deleted while a run used it"


def clear(run: Path, sandbox: Sandbox) -> None:
    """Delete all that a run left, in its folder and outside, as far as possible, when no process of it lives."""
    close(run, sandbox)
    delete(run)


def close(run: Path, sandbox: Sandbox) -> None:
    """Delete what a run left outside of its folder, and let no other user enter that: it can be deleted later."""
    with suppress(OSError):
        _reopen(run)
    sweep_outside(run, sandbox)
    with suppress(OSError):
        run.chmod(0o700)


def sweep_outside(run: Path, sandbox: Sandbox | None = None) -> None:
    """Delete what the processes of a run left outside of its folder; without a sandbox, what its folder alone tells."""
    if sandbox and sandbox.uids:
        shared_memory.sweep_users(sandbox.uids)
    with suppress(OSError, ValueError):
        shared_memory.sweep_since(json.loads((run / _SHARED).read_bytes()))


def make_enterable(folder: Path) -> None:
    """Make the folder of a worker's runs, which the users of trials enter and do not list, whatever umask it has.

    So do they with the folders above it that are made here.

    Raises:
        OSError: it cannot be made.
    """
    new = [path for path in folder.parents if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in (*new, folder):
        path.chmod(0o711)


@contextmanager
def enterable_folders() -> Iterator[None]:
    """Have all folders and files that root makes meanwhile be for the users of trials too, whatever umask it has."""
    mask = os.umask(0o022) if os.geteuid() == 0 else None
    try:
        yield
    finally:
        if mask is not None:
            os.umask(mask)


def closed_folder(folder: Path) -> Path | None:
    """Return the first folder on the way to this one that exists and that other users may not enter; None if none."""
    for path in (*reversed(folder.absolute().parents), folder.absolute()):
        with suppress(OSError):
            if not path.stat().st_mode & stat.S_IXOTH:
                return path
    return None


def changed_protected(folder: Path, files: Mapping[str, bytes]) -> list[str]:
    """Return which of these files are not in a folder as they were written; call it when no process of a trial lives.

    Contents are compared, not modes and times: a trial may own its files.
    """
    return [name for name, body in files.items() if not _is_same(folder / name, body)]


def _is_same(path: Path, body: bytes) -> bool:
    try:
        found = path.lstat()
        return stat.S_ISREG(found.st_mode) and found.st_size == len(body) and path.read_bytes() == body
    except OSError:
        return False


def lay_out_prepared(folder: Path, data: Path | None) -> None:
    """Put what `artifact.prepare` wrote beside itself into a folder, where there is no such file.

    Raises:
        OSError: this machine cannot.
    """
    prepared = data / "public" / PREPARED if data else None
    if prepared is None or not prepared.is_dir():
        return
    for path in sorted(prepared.rglob("*")):
        target = folder / path.relative_to(prepared)
        if path.is_dir():
            target.mkdir(parents=True, exist_ok=True)
        elif not os.path.lexists(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            if path.stat().st_size > _MAX_COPIED_BYTES:
                target.symlink_to(path)
            else:
                target.write_bytes(path.read_bytes())


def write_files(folder: Path, files: Mapping[str, bytes], editable: Container[str]) -> None:
    """Write the files of an artifact to a new folder; protected ones can only be read.

    Raises:
        OSError: this machine cannot.
    """
    folder.mkdir(parents=True)
    for name, body in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
        path.chmod(0o644 if name in editable else 0o444)


def _link(home: Path, links: Mapping[str, str]) -> None:
    """Have names in a `HOME` lead to what is readable below the user's own home: tools look for it there."""
    for name, target in links.items():
        place = home / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if not place.exists():
            place.symlink_to(target)


def _reopen(folder: Path) -> None:
    """Make a folder, and those above it, usable again: a trial with the worker's user id could have closed them."""
    for path in (*reversed(folder.parents), folder):
        with suppress(FileNotFoundError):
            found = path.stat()
            if found.st_uid == os.geteuid() and found.st_mode & 0o700 != 0o700:
                path.chmod(stat.S_IMODE(found.st_mode) | 0o700)


def _freeze(folder: Path) -> None:
    """Make a folder read-only and keep only files and folders in it: links and pipes could mislead a scorer.

    Raises:
        BadOutput: a scorer could not read all of it, or would read a file that is elsewhere.
        OSError: this machine cannot.
    """
    if folder.is_symlink() or not folder.is_dir():
        delete(folder)
        folder.mkdir(parents=True)
    count, linked = 0, Counter[tuple[int, int, int]]()
    top = open_folder(folder)
    try:
        for _, here, entries in walk(top):
            if (count := count + len(entries)) > MAX_FILES:
                raise BadOutput(f"the trial left more than {MAX_FILES:,} files in MESH_OUT: write fewer")
            for entry in entries:
                found = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(found.st_mode):
                    set_mode(entry.name, 0o444, here)
                    linked[found.st_dev, found.st_ino, found.st_nlink] += 1
                elif not stat.S_ISDIR(found.st_mode):
                    os.unlink(entry.name, dir_fd=here)
            os.fchmod(here, 0o555)
    except TooDeep:
        raise BadOutput(f"the trial left folders in MESH_OUT nested deeper than {MAX_DEPTH}: nest them less") from None
    except PermissionError as error:
        raise BadOutput(f"the trial left a file in MESH_OUT that cannot be made read-only: {error.strerror}") from None
    finally:
        os.close(top)
    if any(names < links for (_, _, links), names in linked.items()):
        raise BadOutput("the trial left a hard link in MESH_OUT to a file elsewhere: copy the file instead")
