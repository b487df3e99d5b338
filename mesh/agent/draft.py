"""A draft: the files and words of a role, of which the runtime makes a commit and a `proposal.posted`.

The commit holds the baseline's files, the editable files of the first parent, and the draft's own on top. Its time is
that of the post that led to it, so that the same draft makes the same commit.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from mesh.agent.code_reader import commit_of
from mesh.agent.postable import check_fact
from mesh.board import Board
from mesh.code import CodeStore
from mesh.errors import BadInput
from mesh.events import AnyEvent, Cost, KnobChange, NotePosted, Origin, ProposalPosted
from mesh.text import short


class Draft(msgspec.Struct, frozen=True):
    """A proposal before it is posted; no files and no parents make the baseline, the artifact as it is.

    Attributes:
        files: contents by relative path, of editable files alone; a file that is not named stays as in the parent.
        title: what changes, in one line.
        rationale: why it should help.
        parents: trees of the proposals that it comes from, the one that it changes first; none is the baseline.
        predicted_gain: expected gain over the first parent, in units of the metric, positive is better.
        confidence: probability that it gains, 0 to 1.
        knobs: the constants that it changes, where the role knows them.
        origin: where the idea comes from; by default the role's model, else a sampler named after the role.
        cost: what the thinking cost.
        as_of: sequence of the last entry that the role knew; by default the one that the board stood at.
    """

    files: Mapping[str, bytes | str]
    title: str
    rationale: str = ""
    parents: tuple[str, ...] = ()
    predicted_gain: float | None = None
    confidence: float | None = None
    knobs: tuple[KnobChange, ...] = ()
    origin: Origin | None = None
    cost: Cost | None = None
    as_of: int | None = None


class Author(msgspec.Struct, frozen=True):
    """Who answers: its name on the board, its role, its model ("": none), and of which known trees it was told."""

    name: str
    role: str
    model: str = ""
    told: set[str] = msgspec.field(default_factory=set)


BASELINE = Draft({}, "as it is")
"""What is measured before anything else."""


async def to_facts(
    answers: Sequence[AnyEvent | Draft], author: Author, board: Board, store: CodeStore, at: dt.datetime, as_of: int
) -> list[AnyEvent]:
    """Return the answers with every draft turned into a fact, its commit in the store's cache.

    The baseline comes first where nobody has proposed it. A draft whose files are on the board already becomes a note
    that says whose they are (once per author), or nothing where they are the author's own.

    Args:
        answers: facts and drafts, in order.
        author: who answers.
        board: what it knows.
        store: where the commits go.
        at: the time of the commits.
        as_of: sequence at which the board stood when the author was asked.

    Raises:
        BadInput: a draft cannot be a proposal.
        ObjectMissing: a parent is not on the board, or nobody has shared its files.
    """
    facts: list[AnyEvent] = []
    made: set[str] = set()
    drafts = any(isinstance(answer, Draft) for answer in answers)
    for answer in [BASELINE, *answers] if drafts and not _has_baseline(board) else answers:
        if not isinstance(answer, Draft):
            facts.append(answer)
            continue
        fact = await to_fact(answer, author, board, store, at, as_of)
        known = board.proposals.get(fact.tree)
        if known is None and fact.tree not in made:
            facts.append(fact)
        elif known is not None and known.author != author.name and fact.tree not in author.told:
            author.told.add(fact.tree)
            text = f"{author.name}: draft {answer.title!r} has the files of proposal {short(fact.tree)}"
            facts.append(NotePosted(channel="ops", text=f"{text} by {known.author}, so it is not posted"))
        made.add(fact.tree)
    return facts


async def to_fact(
    draft: Draft, author: Author, board: Board, store: CodeStore, at: dt.datetime, as_of: int
) -> ProposalPosted:
    """Return one draft as a fact, also where its files are on the board already; arguments and errors as `to_facts`."""
    _check(draft)
    base_commit = commit_of(board)
    assert board.opened is not None
    base = await store.files(base_commit)
    commits = [commit_of(board, parent) for parent in draft.parents] or [base_commit]
    first, *_ = [await store.files(commit, base=base_commit) for commit in commits]
    files = _merged(draft, base, first, board.spec.artifact.editable)
    if store.tree_of(files) == board.opened.base_tree:
        origin = Origin(how="baseline")
        return ProposalPosted(tree=board.opened.base_tree, commit=base_commit, title=BASELINE.title, origin=origin)
    words = f"{draft.title}\n\n{draft.rationale}\n" if draft.rationale else f"{draft.title}\n"
    made = store.commit(files, parents=commits, message=words, author=author.name, at=at)
    fact = ProposalPosted(
        tree=made.tree,
        commit=made.commit,
        parents=draft.parents or (board.opened.base_tree,),
        title=draft.title,
        rationale=draft.rationale,
        origin=draft.origin or _origin(author),
        predicted_gain=draft.predicted_gain,
        confidence=draft.confidence,
        knobs=draft.knobs,
        cost=draft.cost,
        as_of=as_of if draft.as_of is None else draft.as_of,
    )
    check_fact(fact)
    return fact


def _origin(author: Author) -> Origin:
    is_model = bool(author.model) or author.role == "researcher"
    return Origin(how="model" if is_model else "sampler", name=author.model or author.role)


def _merged(
    draft: Draft, base: Mapping[str, bytes], first: Mapping[str, bytes], editable: Sequence[str]
) -> dict[str, bytes]:
    """Return the files of a commit: the baseline's, the editable ones of the first parent, the draft's own on top."""
    merged = {**base, **{name: first[name] for name in editable if name in first}}
    for name, content in draft.files.items():
        try:
            data = content.encode() if isinstance(content, str) else bytes(content)
        except UnicodeEncodeError as error:
            raise BadInput(
                f"file {name!r} of draft {draft.title!r} is not valid Unicode text: {error.reason}"
            ) from None
        if name not in editable and base.get(name) != data:
            allowed = ", ".join(editable)
            raise BadInput(f"draft {draft.title!r} changes {name!r}, which is protected; change only {allowed}")
        merged[name] = data
    return merged


def _check(draft: Draft) -> None:
    """Refuse what is not a draft's.

    Raises:
        BadInput: in one sentence, what is wrong with it.
    """
    words: dict[str, Any] = {"title": draft.title, "rationale": draft.rationale}
    for field, word in words.items():
        if not isinstance(word, str):
            raise BadInput(f"{field} of a draft is {word!r:.60}; use text")
    what = f"draft {draft.title!r:.80}"
    if not draft.title.strip():
        raise BadInput("title of a draft is empty; say in one line what changes")
    if not isinstance(draft.files, Mapping):
        raise BadInput(f"files of {what} is of type {type(draft.files).__name__}; use a dict of contents by path")
    for name, content in draft.files.items():
        if not isinstance(name, str) or not isinstance(content, str | bytes):
            raise BadInput(f"file {name!r:.60} of {what} is of type {type(content).__name__}; use bytes or text")
    if not isinstance(draft.parents, tuple | list) or not all(isinstance(parent, str) for parent in draft.parents):
        raise BadInput(f"parents of {what} is {draft.parents!r:.60}; use a tuple of trees, such as (board.champion,)")


def _has_baseline(board: Board) -> bool:
    return board.opened is None or board.opened.base_tree in board.proposals
