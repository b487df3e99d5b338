"""A script of your own takes part: it checks the best code out, changes one line, and waits for the verdict.

Beside a swarm that runs, with a pattern for what the best code has by then, and the text to put there:

    python client.py digits "LEARNING_RATE = [0-9.e-]+" "LEARNING_RATE = 0.2"

`tests/test_python_examples.py` runs it.
"""

import re
import sys
import tempfile
from pathlib import Path

import mesh
from mesh.errors import MeshError


def propose(arena: str, old: str, new: str) -> str:
    """Propose the best code with what matches `old` replaced by `new`, and return what became of it."""
    with mesh.connect(arena, name="script") as m, tempfile.TemporaryDirectory() as folder:
        made = m.checkout("champion" if m.board.champion else "baseline", folder)
        for name in made.editable:
            path = Path(folder, name)
            path.write_text(re.sub(old, new, path.read_text()))
        proposed = m.propose(Path(folder), title=new, rationale="tried by a script")
        outcome = m.wait(proposed, timeout=600)
        return f"{outcome.ending}: {outcome.metric} {outcome.mean}"


if __name__ == "__main__":
    try:
        print(propose(*sys.argv[1:4]))  # noqa: T201
    except MeshError as error:
        sys.exit(str(error))
