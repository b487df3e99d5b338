"""The text of `mesh post` and `reply`, from an argument or a pipe."""

import sys

from gateway.refusals import check_words
from mesh.errors import BadInput
from mesh.wire import MAX_POST_BYTES


def text_of(text: str | None) -> str:
    """Return the text, or standard input for `-` or None, without line breaks at the end.

    Raises:
        BadInput: the text is empty, too long, or has a key in it.
    """
    if text is None or text == "-":
        if sys.stdin is None or (text is None and sys.stdin.isatty()):
            raise BadInput("there is no text; give it as an argument or through a pipe")
        data = sys.stdin.buffer.read(MAX_POST_BYTES + 1)
        if len(data) > MAX_POST_BYTES:
            raise BadInput(f"the text is longer than {MAX_POST_BYTES:,} bytes; shorten it")
        text = data.decode("utf-8", "replace").rstrip("\r\n")
    if not text.strip():
        raise BadInput("the text is empty; write at least one character")
    check_words("the text", text.encode(errors="replace"))
    return text
