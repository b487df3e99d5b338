"""The seed that a trial is told: a number from which it cannot see why it runs.

The log numbers seeds by their purpose (`agents.curation.run_requests`): 1 is search, thousands are proof. A trial that
knew would behave well only where it counts.
"""

import hashlib

from mesh.events import ArenaOpened, RunRequested


def told_seed(opened: ArenaOpened, request: RunRequested) -> int:
    """Return the seed that a run's processes are told, from 1 to 2**31 - 1.

    Every worker derives the same number. Proof is paired: proposals that run with one seed of the log are told one
    number. Search is not: each proposal is told a number of its own, else all would learn the one number of search from
    their logs. An audit repeats the search. Whoever reads the log can derive the numbers; a trial cannot read it.
    """
    paired = "" if request.lane == "explore" or request.audit else "paired"
    words = (opened.base_commit, opened.evaluator, opened.data, paired or request.proposal, str(request.seed))
    digest = hashlib.sha256("\0".join(("the seed of a trial", *words)).encode()).digest()
    return int.from_bytes(digest[:8], "big") % (2**31 - 1) + 1
