"""The filters of `mesh tail`: patterns for the server, and a test of each entry.

The server leaves out what kind, author, run or proposal exclude, so that a rare fact is found in a long log without
reading it; the test decides the rest (globs of authors, channels, text).
"""

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase

from mesh import events as e
from mesh.board import Board
from mesh.errors import BadInput, UnknownName
from mesh.wire import Entry, Pattern, check_token
from mesh_cli.board.lines import author_of, entry_words

MOST_ATTEMPTS = 32
"""Attempts of a run to look for if no board is at hand that knows their number."""

_OF_RUN = ("run.requested", "run.started", "run.killed", "run.finished", "critique.posted")
_OF_PROPOSAL = (*_OF_RUN, "proposal.posted", "proposal.promoted", "proposal.retired", "holdout.opened", "note.posted")
_GLOB = re.compile(r"[*?\[]")


class Wanted:
    """Filters of entries. Every filter must match; a filter with several values matches if one of them does."""

    def __init__(
        self,
        *,
        kinds: Sequence[str] = (),
        authors: Sequence[str] = (),
        channels: Sequence[str] = (),
        run: str | None = None,
        proposal: tuple[Board, str] | None = None,
        grep: Sequence[str] = (),
        exclude: Sequence[str] = (),
    ) -> None:
        """Take the values as typed; `proposal` is a board and the tree hash of one of its proposals.

        Raises:
            BadInput: a value is malformed, or no fact can match all filters.
            UnknownName: there is no kind of that name.
        """
        self._authors, self._channels = authors, channels
        self._run = check_token("run", run) if run else ""
        self._grep, self._exclude = [_expression(text) for text in grep], [_expression(text) for text in exclude]
        self._about: set[str] = set()
        self._thread = 0
        keys = [("", "")]
        if self._run:
            keys = _keys_of_run(self._run, MOST_ATTEMPTS)
        if proposal:
            board, tree = proposal
            self._about, self._thread = {tree, *board.proposals[tree].runs}, board.proposals[tree].seq
            keys = keys if self._run else _keys_of_proposal(board, tree)
        kinds = _known(kinds)
        if channels:
            kinds = [kind for kind in kinds or e.KINDS if kind == "note.posted"]
            if not kinds:
                raise BadInput("only facts of kind note.posted have a channel; leave out --channel or --kind")
        if kinds and keys != [("", "")]:
            keys = [(kind, key) for kind, key in keys if kind in kinds]
        elif kinds:
            keys = [(kind, "") for kind in kinds]
        if not keys:
            raise BadInput(
                f"no {' or '.join(kinds)} is about a single {'run' if self._run else 'proposal'}; leave --kind out"
            )
        exact = dict.fromkeys(authors) if authors and not any(map(_GLOB.search, authors)) else [""]
        self.patterns = [Pattern(kind, key, author) for kind, key in keys for author in exact]
        # Which runs a proposal will have is not known, so what comes later is told by its kind alone.
        later = _OF_PROPOSAL if proposal and not self._run else dict.fromkeys(kind for kind, _ in keys)
        self.growing = [Pattern(k, "", author) for k in later if not kinds or k in kinds for author in exact]
        if self.patterns == [Pattern()]:
            self.patterns = self.growing = []
        self._kinds = frozenset(kinds)

    @property
    def is_everything(self) -> bool:
        """Whether nothing is left out."""
        return not (self.patterns or self._authors or self._grep or self._exclude)

    @property
    def is_reading(self) -> bool:
        """Whether whole channels are printed, so that their notes count as read."""
        return bool(self._channels) and not (self._authors or self._grep or self._exclude or self._run or self._about)

    def matches(self, entry: Entry) -> bool:
        """Tell whether an entry matches; entries must be given in the order of the log."""
        where = entry.subject
        event = entry.post.event if entry.post else None
        if self._kinds and where.kind not in self._kinds:
            return False
        if self._authors and not any(fnmatchcase(where.author, author) for author in self._authors):
            return False
        if self._channels and not (
            isinstance(event, e.NotePosted) and any(fnmatchcase(event.channel, name) for name in self._channels)
        ):
            return False
        if self._run and not (event and _run_of(event) == self._run):
            return False
        if self._about and not (event and self._is_about(event)):
            return False
        if not self._grep and not self._exclude:
            return True
        text = f"{author_of(entry)} {where.kind} {entry_words(entry)}"
        return (not self._grep or any(found.search(text) for found in self._grep)) and not any(
            found.search(text) for found in self._exclude
        )

    def _is_about(self, event: e.AnyEvent) -> bool:
        """Tell whether a fact is about the proposal, and learn of its new runs."""
        match event:
            case e.ProposalPosted():
                return event.tree in self._about
            case e.RunRequested():
                if event.proposal in self._about:
                    self._about.add(event.run)
                return event.proposal in self._about
            case e.ProposalPromoted() | e.ProposalRetired() | e.HoldoutOpened():
                return event.proposal in self._about
            case e.NotePosted():
                return event.reply_to == self._thread
        return _run_of(event) in self._about


def _known(words: Sequence[str]) -> list[str]:
    """Return the kinds that match; `run.*` matches several."""
    found: dict[str, None] = {}
    for word in words:
        kinds = [kind for kind in e.KINDS if fnmatchcase(kind, word)]
        if not kinds:
            raise UnknownName(f"{word!r} is not a kind of fact; use {', '.join(e.KINDS)}")
        found |= dict.fromkeys(kinds)
    return [] if len(found) == len(e.KINDS) else list(found)


def _keys_of_run(run: str, attempts: int) -> list[tuple[str, str]]:
    """Return kind and key of every fact about a run."""
    started = [("run.started", f"{run}-{attempt}") for attempt in range(1, attempts + 1)]
    once = [(kind, run) for kind in ("run.killed", "run.finished", "critique.posted")]
    return [("run.requested", f"*.{run}"), *started, *once]


def _keys_of_proposal(board: Board, tree: str) -> list[tuple[str, str]]:
    """Return kind and key of every fact about a proposal, its runs, and the replies to it."""
    whole = [(kind, "") for kind in ("proposal.promoted", "proposal.retired", "holdout.opened", "note.posted")]
    known = board.proposals[tree]
    runs = [pair for run in (*known.runs, *known.sealed) for pair in _keys_of_run(run, board.runs[run].attempts)]
    return [("proposal.posted", tree), ("critique.posted", tree), *whole, *runs]


def _run_of(event: e.AnyEvent) -> str:
    """Return the run that a fact is about, "" for none; a critique's target may be a proposal instead."""
    match event:
        case e.RunRequested() | e.RunStarted() | e.RunKilled() | e.RunFinished() | e.ItemsCompared():
            return event.run
        case e.CritiquePosted():
            return event.target
    return ""


def _expression(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise BadInput(f"{text[:60]!r} is not a regular expression: {error}") from None
