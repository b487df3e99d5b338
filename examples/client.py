"""A script of your own takes part: it checks the best code out, changes one line, and waits for the verdict.

Beside a swarm that runs:

    python client.py digits "LR = 0.1" "LR = 0.05"

`tests/test_python_examples.py` runs it.
"""

import sys
import tempfile
from pathlib import Path

import mesh


def propose(arena: str, old: str, new: str) -> str:
    """Propose the best code with one text replaced, and return what became of it."""
    with mesh.connect(arena, name="script") as m, tempfile.TemporaryDirectory() as folder:
        made = m.checkout("champion" if m.board.champion else "baseline", folder)
        for name in made.editable:
            path = Path(folder, name)
            path.write_text(path.read_text().replace(old, new))
        proposed = m.propose(Path(folder), title=f"{old} becomes {new}", rationale="tried by a script")
        outcome = m.wait(proposed, timeout=600)
        return f"{outcome.ending}: {outcome.metric} {outcome.mean}"


if __name__ == "__main__":
    print(propose(*sys.argv[1:4]))  # noqa: T201
