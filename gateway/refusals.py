"""Why files cannot be proposed, in one sentence, before anything is uploaded or posted. Pure."""

from collections.abc import Mapping, Sequence

from mesh.board import Board
from mesh.editable_paths import MAX_NEW_BYTES
from mesh.errors import ArenaIsClosed, BadInput
from mesh.keys_in_text import keys_in
from mesh.text import printable, short

_Files = Mapping[str, bytes]

_NAMED = 5


def check_open(board: Board, what: str = "proposals") -> None:
    """Check that an arena takes proposals, or something else.

    Raises:
        ArenaIsClosed: it is closed.
    """
    if board.closed:
        raise ArenaIsClosed(
            f"arena {board.arena} is closed ({board.closed.reason}) and takes no {what}; `mesh up FOLDER` opens "
            "it again"
        )


def check_files(parent: str, before: _Files, after: _Files, editable: Sequence[str]) -> None:
    """Check the files that a proposal changes or adds, against those of its parent.

    Args:
        parent: the parent in words, for the sentence.
        before: the parent's files by path.
        after: the proposal's files by path; files that are not in it stay as they are.
        editable: the files that may be changed, for the sentence.

    Raises:
        BadInput: nothing is changed, or the change is too large, binary, or has a secret.
    """
    changed = [name for name, data in after.items() if before.get(name) != data]
    if not changed:
        raise BadInput(f"nothing is changed: the files are those of {parent}; edit one of {_listed(editable)}")
    more = sum(max(0, len(after[name]) - len(before.get(name, b""))) for name in changed)
    if more > MAX_NEW_BYTES:
        raise BadInput(f"the proposal adds {more:,} bytes, but it may add {MAX_NEW_BYTES:,}; make it smaller")
    for name in changed:
        if _is_binary(after[name]) and not _is_binary(before.get(name, b"")):
            raise BadInput(f"{printable(name, 80)} is binary; a proposal changes text: leave the file as it was")
        check_words(name, after[name], before.get(name, b""))


def check_words(where: str, text: bytes, before: bytes = b"") -> None:
    """Check that a text has no secret that was not there before.

    Raises:
        BadInput: it has one.
    """
    for key in keys_in(text, before):
        raise BadInput(
            f"{printable(where, 80)}, line {key.line}, has what looks like {key.what}; the log never forgets: take it "
            "out, and revoke it if it was shared"
        )


def check_text(where: str, text: str, most: int) -> str:
    """Return a text that may be posted, without line breaks at its end.

    Args:
        where: what the text is, for the sentence.
        text: the text.
        most: how many bytes it may have.

    Raises:
        BadInput: it is empty, too long, has characters that no text has, or a secret.
    """
    text = text.rstrip("\r\n")
    if not text.strip():
        raise BadInput(f"{where} is empty; write at least one character")
    if len(text) > most or len(text.encode(errors="replace")) > most:
        size = len(text.encode(errors="replace"))
        raise BadInput(f"{where} has {size:,} bytes, but it may have {most:,}; shorten it")
    if "\0" in text:
        raise BadInput(f"{where} has a NUL character; send plain text")
    try:
        data = text.encode()
    except UnicodeEncodeError:
        raise BadInput(f"{where} is not valid Unicode; send it as UTF-8") from None
    check_words(where, data)
    return text


def check_protected(changed: Sequence[str], deleted: Sequence[str], editable: Sequence[str]) -> None:
    """Check that no protected file is changed, and none deleted.

    Raises:
        BadInput: there are such files.
    """
    if changed:
        is_are = "is" if len(changed) == 1 else "are"
        raise BadInput(
            f"{_listed(changed)} {is_are} protected, but changed; undo that, and change only {_listed(editable)}"
        )
    if deleted:
        raise BadInput(
            f"{_listed(deleted)} {'is' if len(deleted) == 1 else 'are'} gone, but a proposal deletes no files; put it "
            "back, or check the parent out into a new folder"
        )


def parent_words(board: Board, parent: str) -> str:
    """Return a parent in words: "" is the baseline."""
    if not parent or (board.opened and parent == board.opened.base_tree):
        return "the baseline"
    return f"the champion {short(parent)}" if parent == board.champion else f"proposal {short(parent)}"


def _is_binary(data: bytes) -> bool:
    if b"\0" in data:
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return True
    return False


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(printable(name, 80) for name in names[:_NAMED])
    return f"{shown} and {len(names) - _NAMED} more" if len(names) > _NAMED else shown
