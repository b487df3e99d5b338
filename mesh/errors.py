"""Every error of the mesh, as one tree; callers catch `MeshError`.

    MeshError                    something went wrong that a person can act on
    ├── BadInput                 what the user gave cannot be used
    │   ├── BadArena             an arena folder or its arena.toml
    │   ├── Leaving              an agent leaves for good: what it was given will never do
    │   └── UnknownName          a role, arena, proposal or run that does not exist
    ├── BusError                 the log cannot be used as asked
    │   ├── AlreadyPosted        the fact is in the log already: callers treat it as done
    │   ├── BusUnavailable       no server answers
    │   ├── ServerTooOld         the server lacks what the log needs
    │   └── BusRefused           the server answers and says no (permission, limit, full disk)
    ├── ObjectMissing            the object store has no object of that name
    ├── QueryError               a SQL statement was refused or failed
    └── HostTrouble              this machine is broken (disk full, no memory), not the work it was given

A message is one sentence: subject, value, bound, cure. An expected failure of a trial is data (`events.Failed`), never
an exception.
"""


class MeshError(Exception):
    """The root of the tree; `exit_code` is what a command ends with."""

    exit_code = 1


class BadInput(MeshError):
    """What the user gave cannot be used."""

    exit_code = 2


class BadArena(BadInput):
    """An arena folder or its `arena.toml` cannot be used."""


class Leaving(BadInput):
    """An agent leaves now and for good, for this reason: it would be of no use to start it again as it was."""


class UnknownName(BadInput):
    """A role, arena, proposal or run that does not exist."""


class BusError(MeshError):
    """The log cannot be used as asked."""

    exit_code = 3


class AlreadyPosted(BusError):
    """The fact is in the log already.

    Attributes:
        seq: sequence of the fact that holds the key, 0 where it could not be read.
        author: who posted it.
        post_id: id of that post.
    """

    def __init__(self, subject: str, seq: int, author: str, post_id: str) -> None:
        super().__init__(f"{subject} was already posted by {author or 'somebody'} (sequence {seq})")
        self.seq, self.author, self.post_id = seq, author, post_id


class BusUnavailable(BusError):
    """No server answers."""


class ServerTooOld(BusError):
    """The server lacks what the log needs."""


class BusRefused(BusError):
    """The server answers and says no: a permission, a limit, a full disk."""


class ObjectMissing(MeshError):
    """The object store has no object of that name."""


class QueryError(MeshError):
    """A SQL statement was refused or failed."""

    exit_code = 4


class HostTrouble(MeshError):
    """This machine is broken (disk full, no memory), not the work it was given."""

    exit_code = 5


def leaf(error: BaseException) -> BaseException:
    """Return the error to show out of nested exception groups: the first `MeshError` in them, else the first of all."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    leaves = [leaf(inner) for inner in error.exceptions]
    return next((e for e in leaves if isinstance(e, MeshError)), leaves[0])
