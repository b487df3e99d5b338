"""The folders of one run: what its trial may write, what its scorer gets, and how all of it goes away.

trial/  out/  tmp/  report.jsonl      the trial's; after it, out/ is read-only
score/  score-tmp/                    the scorer's, laid out when no process of the trial lives
"""

import os
import shutil
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from gpu_worker.sandbox.tiers import Sandbox

TRIAL_WRITES = ("trial", "out", "tmp", "report.jsonl")
"""What a trial may write, by its names in the run's folder."""


def lay_out_trial(run: Path, files: Mapping[str, bytes], editable: Sequence[str], sandbox: Sandbox) -> None:
    """Make the trial's folders in `run`; they belong to the user that it runs as.

    Raises:
        OSError: this machine cannot (disk full, no permission).
    """
    delete(run)
    write_files(run / "trial", files, editable)
    for name in ("out", "tmp"):
        (run / name).mkdir()
    (run / "report.jsonl").touch()
    run.chmod(0o711)
    sandbox.give([run / name for name in TRIAL_WRITES])


def lay_out_score(run: Path, files: Mapping[str, bytes], editable: Sequence[str], sandbox: Sandbox) -> None:
    """Make the scorer's folders in `run`, and the trial's output read-only; call it when no process of the trial lives.

    Raises:
        OSError: this machine cannot.
    """
    for name in ("score", "score-tmp"):
        delete(run / name)  # a trial without a sandbox could have put something there
    write_files(run / "score", files, editable)
    (run / "score-tmp").mkdir()
    sandbox.give([run / "score-tmp"], scorer=True)
    _freeze(run / "out")


def write_files(folder: Path, files: Mapping[str, bytes], editable: Sequence[str]) -> None:
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


def delete(path: Path) -> None:
    """Delete a folder, file or link as far as possible, whatever its permissions; links are never followed."""
    if path.is_symlink() or path.is_file():
        with suppress(OSError):
            path.unlink()
        return
    if path.is_dir():
        with suppress(OSError):
            path.chmod(0o700)
        for root, folders, _ in os.walk(path):
            for inner in (Path(root) / name for name in folders):
                with suppress(OSError):
                    if not inner.is_symlink():
                        inner.chmod(0o700)
        shutil.rmtree(path, ignore_errors=True)


def _freeze(folder: Path) -> None:
    """Make a folder read-only and keep only files and folders in it: links and pipes could mislead a scorer."""
    if folder.is_symlink() or not folder.is_dir():
        delete(folder)
        folder.mkdir(parents=True)
    for root, folders, names in os.walk(folder, topdown=False):
        os.chmod(root, 0o700)
        for path in (Path(root) / name for name in (*names, *folders)):
            kind = path.lstat().st_mode
            if stat.S_ISREG(kind):
                path.chmod(0o444)
            elif not stat.S_ISDIR(kind):
                path.unlink()
        os.chmod(root, 0o555)
