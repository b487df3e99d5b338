"""Decide with the candidate's code; this process has no secrets, because it runs that code.

Standard input: JSON lines: `{"vendors": [...]}` first, then `{"order": {...}}`, `{"receipt": {...}}` and
`{"invoice": {...}}`. Standard output: one JSON line per invoice. The candidate's own prints do not reach it.
"""

import json
import os
import sys
from pathlib import Path


def main() -> None:
    """Answer invoices until the input ends."""
    channel = os.dup(1)
    os.dup2(2, 1)
    import match

    learned = json.loads((Path(os.environ.get("MESH_OUT", "out")) / "learned.json").read_text())
    matcher = match.Matcher(json.loads(sys.stdin.readline())["vendors"], learned)
    with os.fdopen(channel, "w") as out:
        for line in sys.stdin:
            [(what, fields)] = json.loads(line).items()
            if what == "invoice":
                out.write(json.dumps(matcher.decide(fields)) + "\n")
                out.flush()
            else:
                {"order": matcher.order, "receipt": matcher.receipt}[what](fields)


if __name__ == "__main__":
    main()
