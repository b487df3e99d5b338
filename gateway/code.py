"""`code`: the files of a proposal as a trial sees them, or the lines of one; never hidden files and private data."""

from gateway.answers import CodeFile, CodeShown, closed_words
from gateway.checkout import files_of_trial
from gateway.door import Door
from mesh.agent.code_reader import commit_of
from mesh.data_marks import fence_of, fenced, tame
from mesh.editable_paths import editable_paths
from mesh.errors import BadInput, UnknownName
from mesh.hidden_files import is_hidden
from mesh.text import printable, short

_MOST_FILES, _MOST_CHARACTERS = 500, 24_000
_LONG_LINE = 2000


async def code(door: Door, word: str, path: str = "", *, first_line: int = 1) -> CodeShown:
    """Return the files of a proposal, or lines of one.

    Args:
        door: The arena.
        word: The proposal, as `Door.proposal` takes it.
        path: A file; "" lists all.
        first_line: The line to begin with, or the file in a list.

    Raises:
        BadInput: The file is binary, or has no such line.
        UnknownName: There is no such proposal, or it has no such file.
        ObjectMissing: Nobody has shared its files.
        BusError: The log cannot be reached.
    """
    tree = await door.proposal(word)
    board = door.board
    found = await files_of_trial(door, tree)
    files = {name: data for name, data in found.items() if not is_hidden(board.spec.artifact.hidden, name)}
    editable = editable_paths(board.spec, files)
    base = board.opened.base_tree if board.opened else ""
    what = f"proposal {short(tree or base)}"
    if path and path not in files:
        raise UnknownName(f"{what} has no file {printable(path, 80)!r}; without a path all are listed")
    listed = [CodeFile(name, len(files[name]), name in editable) for name in (sorted(files) if not path else [path])]
    lines = _lines(files[path], path) if path else []
    total = len(lines) if path else len(listed)
    if not 1 <= first_line <= max(1, total):
        raise BadInput(f"{path or what} has no line {first_line}; use 1 to {max(1, total)}")
    text, left_out, start = "", 0, first_line - 1
    if path:
        shown = lines_that_fit(lines[start:])
        left_out = total - start - len(shown)
        author = board.proposals[tree].author if tree in board.proposals else "the operator"
        body = tame("\n".join(shown))
        last = start + len(shown)
        label = f"{printable(path, 200)} of {what} by {author}, lines {first_line} to {last} of {total}:"
        text = fenced(label, body, fence_of(board, [path, body]))
    else:
        listed = listed[start : start + _MOST_FILES]
        left_out = total - start - len(listed)
    return CodeShown(
        arena=board.arena,
        seq=board.seq,
        closed=closed_words(board),
        proposal=tree or base,
        commit=commit_of(board, tree),
        files=tuple(listed),
        path=path,
        first_line=first_line,
        text=text,
        left_out=left_out,
        next_line=total - left_out + 1,
    )


def _lines(data: bytes, path: str) -> list[str]:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise BadInput(f"{printable(path, 80)} is binary ({len(data):,} bytes), and is not shown; mesh checkout has it")
    return text.splitlines()


def lines_that_fit(lines: list[str]) -> list[str]:
    """Return the first lines that fit, at least one; a very long one is cut."""
    shown, room = list[str](), _MOST_CHARACTERS
    for line in lines:
        cut = line if len(line) <= _LONG_LINE else f"{line[:_LONG_LINE]}… ({len(line) - _LONG_LINE:,} more characters)"
        room -= len(cut) + 1
        if room < 0 and shown:
            break
        shown.append(cut)
    return shown
