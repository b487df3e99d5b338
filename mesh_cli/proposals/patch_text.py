"""The text of `mesh propose --patch`, from a file or standard input."""

import sys
from pathlib import Path

from mesh.errors import BadInput

_MOST_BYTES = 8 * 1024**2
"""Bytes of a patch at most."""


def patch_text(given: str) -> str:
    """Return the text of a patch: of a file, or of standard input for `-`.

    Raises:
        BadInput: it cannot be read, or is too long.
    """
    if given == "-":
        if sys.stdin is None or sys.stdin.isatty():
            raise BadInput("there is no patch; give it through a pipe, as in `git diff | mesh propose --patch -`")
        data, where = sys.stdin.buffer.read(_MOST_BYTES + 1), "the patch"
    else:
        try:
            with Path(given).open("rb") as file:
                data, where = file.read(_MOST_BYTES + 1), given
        except OSError as error:
            raise BadInput(f"{given} cannot be read: {error.strerror}") from None
    if len(data) > _MOST_BYTES:
        raise BadInput(f"{where} has more than {_MOST_BYTES:,} bytes; make the change smaller")
    return data.decode("utf-8", "replace")
