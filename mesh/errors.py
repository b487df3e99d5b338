"""Every error of the mesh, as one tree; callers catch `MeshError`.

    MeshError                    something went wrong that a person can act on
    ├── BadInput                 an input of the user is not valid
    │   ├── ArenaIsClosed        a closed arena takes no proposals
    │   ├── BadArena             an arena folder or its arena.toml
    │   ├── Leaving              an agent leaves for good: with its options it can never work
    │   ├── RulesBroken          a proposal changes what the version in force fixes
    │   └── UnknownName          a role, arena, proposal or run that does not exist
    ├── BusError                 the log did not do what was asked
    │   ├── AlreadyPosted        the fact is in the log already: callers treat it as done
    │   ├── BusUnavailable       no server answers
    │   ├── ServerTooOld         the server lacks a feature that the log needs
    │   └── BusRefused           the server refuses (permission, limit, full disk)
    ├── NotYet                   what was waited for has not come in time; a `TimeoutError` too
    ├── ObjectMissing            the object store has no object with that name
    ├── QueryError               a SQL statement was refused or failed
    └── HostTrouble              this machine is broken (disk full, no memory), not the work that it got

A message is one sentence: subject, value, allowed values, cure. An expected failure of a trial is data
(`events.Failed`), never an exception.
"""


class MeshError(Exception):
    """The root of the tree; `exit_code` is what a command ends with."""

    exit_code = 1


class BadInput(MeshError):
    """An input of the user is not valid."""

    exit_code = 2


class ArenaIsClosed(BadInput):
    """A closed arena takes no proposals."""

    exit_code = 14


class BadArena(BadInput):
    """An arena folder or its `arena.toml` cannot be used."""


class Leaving(BadInput):
    """An agent leaves for good, for this reason: starting it again with the same options would not help."""


class RulesBroken(BadInput):
    """A proposal changes what the version in force fixes."""


class UnknownName(BadInput):
    """A role, arena, proposal or run that does not exist."""


class BusError(MeshError):
    """The log did not do what was asked."""

    exit_code = 3


class AlreadyPosted(BusError):
    """The fact is in the log already.

    Attributes:
        seq: sequence of the earlier fact with this key, 0 if it could not be read.
        author: author of the earlier fact, "" if it could not be read.
        post_id: id of the earlier post, "" if it could not be read.
    """

    def __init__(self, subject: str, seq: int, author: str, post_id: str) -> None:
        super().__init__(f"{subject} was already posted by {author or 'an unknown author'} (sequence {seq})")
        self.seq, self.author, self.post_id = seq, author, post_id


class BusUnavailable(BusError):
    """No server answers."""


class ServerTooOld(BusError):
    """The server lacks a feature that the log needs."""


class BusRefused(BusError):
    """The server answers and refuses: a permission, a limit, a full disk."""


class NotYet(MeshError, TimeoutError):
    """What was waited for has not come in time; the wait may be repeated.

    Attributes:
        so_far: the answer as it was when the time was over, None if there was none.
    """

    exit_code = 13

    def __init__(self, sentence: str, so_far: object = None) -> None:
        super().__init__(sentence)
        self.so_far = so_far


class ObjectMissing(MeshError):
    """The object store has no object with that name."""


class QueryError(MeshError):
    """A SQL statement was refused or failed."""

    exit_code = 4


class HostTrouble(MeshError):
    """This machine is broken (disk full, no memory), not the work that it got."""

    exit_code = 5


def leaf(error: BaseException) -> BaseException:
    """Return the error to show from nested exception groups: the first `MeshError`, else the first error."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    leaves = [leaf(inner) for inner in error.exceptions]
    return next((e for e in leaves if isinstance(e, MeshError)), leaves[0])
