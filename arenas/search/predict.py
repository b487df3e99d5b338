"""Search with the candidate's code; this process has no secrets, because it runs that code.

Standard input: JSON lines: `{"documents": [...]}` first, then `{"query": "..."}`, one at a time. Standard output: one
JSON line per line of the input: `{"index_mb": ...}`, then lists of ids. The candidate's own prints do not reach it.
"""

import json
import os
import resource
import sys
from pathlib import Path


def main() -> None:
    """Answer queries until the input ends."""
    channel = os.dup(1)
    os.dup2(2, 1)
    import rank

    learned = json.loads((Path(os.environ.get("MESH_OUT", "out")) / "learned.json").read_text())
    documents = json.loads(sys.stdin.readline())["documents"]
    before = peak_mb()
    index = rank.index(documents, learned)
    with os.fdopen(channel, "w") as out:
        out.write(json.dumps({"index_mb": peak_mb() - before}) + "\n")
        out.flush()
        for line in sys.stdin:
            out.write(json.dumps(index.search(json.loads(line)["query"])) + "\n")
            out.flush()


def peak_mb() -> float:
    """Return the most memory that this process had so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
