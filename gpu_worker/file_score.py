"""The number in the file that a trial wrote (`score.how = "file"`): a JSON key, a CSV column, or a pattern in a text.

The file was deleted before the trial, so what is there is the trial's. A trial could make it anything: it is read only
if it is a regular file, in folders that are no links, of at most `MAX_BYTES`.
"""

import csv
import io
import json
import math
import os
import re
import stat
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

from mesh.events import Failed
from mesh.spec import ScoreSpec

MAX_BYTES = 16 * 1024**2
_SHOWN = 8


def remove_stale(folder: Path, name: str) -> None:
    """Delete the file of the score from a folder that was laid out, and make the folder that it goes to.

    Only what the trial writes counts.

    Raises:
        OSError: this machine cannot.
    """
    owner, path = folder.stat(), folder / name
    path.unlink(missing_ok=True)
    for above in reversed(path.relative_to(folder).parents[:-1]):
        if not (folder / above).is_dir():
            (folder / above).mkdir()
            os.chown(folder / above, owner.st_uid, owner.st_gid)


def read_score(score: ScoreSpec, metric: str, folder: Path) -> dict[str, float] | Failed:
    """Return the numbers of a finished trial: its metric, and the numbers that stand beside it.

    Args:
        score: where the number stands.
        metric: name of the metric.
        folder: the trial's folder.

    Returns:
        The numbers by name (NaN and infinities too), or why there is no score.
    """
    data = _contents(folder, score.file)
    if isinstance(data, Failed):
        return data
    try:
        if score.key:
            return _of_json(score, metric, data)
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return _none(f"{score.file} is not UTF-8 text (byte {error.start})")
    return _of_table(score, metric, text) if score.column else _of_text(score, metric, text)


def _none(message: str) -> Failed:
    return Failed(reason="no_score", message=message)


def _contents(folder: Path, name: str) -> bytes | Failed:
    *above, last = PurePosixPath(name).parts
    here = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in above:
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            inner = os.open(part, flags, dir_fd=here)
            os.close(here)
            here = inner
        descriptor = os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=here)
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                return _none(f"{name}, the file of the score, is not a regular file")
            if found.st_size > MAX_BYTES:
                return _none(f"{name} has {found.st_size:,} bytes, but the file of the score may have {MAX_BYTES:,}")
            return file.read(MAX_BYTES)
    except FileNotFoundError:
        return _none(f"the trial did not write {name}, the file of its score")
    except OSError as error:
        return _none(f"{name}, the file of the score, cannot be read: {error.strerror}")
    finally:
        os.close(here)


def _of_json(score: ScoreSpec, metric: str, data: bytes) -> dict[str, float] | Failed:
    text = data.decode("utf-8-sig")
    try:
        whole = _decoded(text)
    except ValueError as error:
        lines = [line for line in text.splitlines() if line.strip()]
        try:  # one object a line: the last one counts
            whole = _decoded(lines[-1]) if len(lines) > 1 else None
        except ValueError:
            whole = None
        if not isinstance(whole, dict):
            return _none(f"{score.file} is not valid JSON: {' '.join(str(error).split())[:200]}")
    place, parts = whole, score.key.split(".")
    around: dict[str, Any] = {}
    while parts:
        step = _step(place, parts)
        if step is None:
            if isinstance(place, dict):
                more = " and more" if len(place) > _SHOWN else ""
                has = f"there are {', '.join(map(str, list(place)[:_SHOWN])) or 'none'}{more}"
            else:
                has = f"there is {_shown(place)}"
            return _none(f"{score.file} has no key {score.key!r}: at {parts[0]!r} {has}")
        around = place if isinstance(place, dict) else {}
        place, parts = step
    number = _number(place)
    if number is None:
        return _none(f"{score.key!r} in {score.file} is {_shown(place)}, not a number")
    beside = {str(name): value for name, each in around.items() if (value := _number(each)) is not None}
    return beside | {metric: number}


def _step(place: Any, parts: list[str]) -> tuple[Any, list[str]] | None:
    """Return the value one key further and the parts that are left; a key of a file may have dots itself."""
    if isinstance(place, dict):
        for count in range(len(parts), 0, -1):
            if (name := ".".join(parts[:count])) in place:
                return place[name], parts[count:]
    if isinstance(place, list) and re.fullmatch(r"-?\d{1,9}", parts[0]):
        with suppress(IndexError):
            return place[int(parts[0])], parts[1:]
    return None


def _decoded(text: str) -> Any:
    """Return the value of a JSON text, which may have NaN and infinities, as Python writes them.

    Raises:
        ValueError: it is not JSON, or is nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _number(value: object) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _shown(value: object) -> str:
    match value:
        case str():
            return f"the text {value[:60]!r}"
        case dict():
            return "an object"
        case list():
            return "a list"
        case _:
            return json.dumps(value)[:60]


def _of_table(score: ScoreSpec, metric: str, text: str) -> dict[str, float] | Failed:
    first = text.partition("\n")[0]
    delimiter = max("\t", ";", ",", key=first.count)
    try:
        head, *rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if any(row)]
    except (ValueError, csv.Error):
        return _none(f"{score.file} is not a table with a header")
    head = [name.strip() for name in head]
    if score.column not in head:
        return _none(f"{score.file} has no column {score.column!r}: there are {', '.join(head[:_SHOWN])}")
    if score.row:
        rows = [row for row in rows if row[0].strip() == score.row]
        if not rows:
            return _none(f"{score.file} has no row {score.row!r} (by its first column)")
    if not rows:
        return _none(f"{score.file} has no row but its header")
    cells = {name: _parsed(cell) for name, cell in zip(head, rows[-1], strict=False)}
    number = cells.get(score.column)
    if number is None:
        cell = rows[-1][head.index(score.column)] if len(rows[-1]) > head.index(score.column) else ""
        return _none(f"column {score.column!r} in {score.file} is the text {cell[:60]!r}, not a number")
    return {name: value for name, value in cells.items() if value is not None and name} | {metric: number}


def _of_text(score: ScoreSpec, metric: str, text: str) -> dict[str, float] | Failed:
    found = re.findall(score.pattern, text, re.MULTILINE)
    if not found:
        return _none(f"no text in {score.file} matches {score.pattern!r}")
    number = _parsed(found[-1])
    if number is None:
        return _none(f"{score.pattern!r} finds the text {found[-1][:60]!r} in {score.file}, not a number")
    return {metric: number}


def _parsed(text: str) -> float | None:
    try:
        return float(text.strip().replace("_", "x"))  # Python takes 1_000, which no tool writes
    except ValueError:
        return None
