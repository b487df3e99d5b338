"""A draft: files and a reason from a role, which the runtime turns into a commit and a `proposal.posted`.

The commit has the baseline's files, replaced by the editable files of the first parent, and then by the draft's files.
Its time is the time of the post that led to it, so the same draft always gives the same commit.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from mesh.agent.code_reader import commit_of
from mesh.agent.knob_values import knob_values
from mesh.agent.postable import check_fact
from mesh.board import Board
from mesh.code import CodeStore
from mesh.editable_paths import editable_paths, too_many_new
from mesh.editable_regions import bounded, fits_without_markers, trespass
from mesh.errors import BadInput, RulesBroken
from mesh.events import AnyEvent, Cost, KeptCall, KnobChange, NotePosted, Origin, ProposalPosted
from mesh.rule_breaches import rules_of, turned_literals
from mesh.text import short


class Draft(msgspec.Struct, frozen=True):
    """A proposal before it is posted; without files and parents it is the baseline.

    Attributes:
        files: contents of changed files by relative path; only editable files may change.
        title: the change in one line.
        rationale: why the change should help.
        parents: trees of the proposals that it comes from, the one that it changes first; none is the baseline.
        predicted_gain: expected gain over the first parent, in units of the metric; positive is better.
        confidence: probability of a gain, 0 to 1.
        knobs: the constants that it changes, if the role knows them.
        origin: where the idea comes from; by default the role's model, else a sampler named after the role.
        cost: cost of the model calls that led to it.
        as_of: sequence of the last entry that the role knew; by default the last one that the board has folded.
        call: the model call that it comes from, as `Context.calls` kept it.
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
    call: KeptCall | None = None


class Author(msgspec.Struct, frozen=True):
    """The author of answers.

    Attributes:
        name: its name on the board.
        role: its role.
        model: its model, "" if it has none.
        told: trees of others' proposals that it drafted again, and broken rules, that it has been told about.
    """

    name: str
    role: str
    model: str = ""
    told: set[str] = msgspec.field(default_factory=set)


BASELINE = Draft({}, "as it is")
"""The draft of the baseline, which is measured first."""


async def to_facts(
    answers: Sequence[AnyEvent | Draft], author: Author, board: Board, store: CodeStore, at: dt.datetime, as_of: int
) -> list[AnyEvent]:
    """Return the answers with every draft turned into a fact; its commit is in the store's cache.

    If nobody has proposed the baseline, it comes first. A draft with the files of another author's proposal becomes a
    note that names that author, once per author and proposal. One with the files of an own proposal is left out. One
    that changes what the version in force fixes becomes a note that says so.

    Args:
        answers: facts and drafts, in order.
        author: the author of the answers.
        board: the present board.
        store: the code store that gets the commits.
        at: the time of the commits.
        as_of: sequence of the last entry that the board had folded when the role was called.

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
        try:
            fact = await to_fact(answer, author, board, store, at, as_of)
        except RulesBroken as error:
            if str(error) not in author.told:
                author.told.add(str(error))
                facts.append(NotePosted(channel="ops", text=f"{author.name}: {error}, so it is not posted"))
            continue
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
    editable = editable_paths(board.spec, base, first, draft.files)
    files = _merged(draft, base, first, editable)
    if store.tree_of(files) == board.opened.base_tree:
        return ProposalPosted(
            tree=board.opened.base_tree,
            commit=base_commit,
            title=BASELINE.title,
            origin=Origin(how="baseline"),
            values=knob_values(base, editable, board.spec.knobs),
        )
    is_sampler = bool(draft.origin and draft.origin.how == "sampler")
    turned = turned_literals(board, draft.parents, draft.knobs, is_sampler=is_sampler)
    if why := rules_of(board.opened, base).changed_value(files, turned=turned):
        raise RulesBroken(f"draft {draft.title!r} {why}")
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
        values=knob_values(files, editable, board.spec.knobs, base=base),
        call=draft.call,
    )
    check_fact(fact)
    return fact


def why_refused(draft: Draft, board: Board, base: Mapping[str, bytes], first: Mapping[str, bytes]) -> str:
    """Return why a draft cannot be posted: it leaves what it may change, or changes what the version fixes; else "".

    Args:
        draft: the draft.
        board: the present board.
        base: the baseline's files.
        first: the files of its first parent.
    """
    try:
        _check(draft)
        files = _merged(draft, base, first, editable_paths(board.spec, base, first, draft.files))
    except BadInput as error:
        return str(error)
    turned = turned_literals(board, draft.parents)
    why = rules_of(board.opened, base).changed_value(files, turned=turned) if board.opened else ""
    return f"draft {draft.title!r} {why}" if why else ""


def _origin(author: Author) -> Origin:
    is_model = bool(author.model) or author.role == "researcher"
    return Origin(how="model" if is_model else "sampler", name=author.model or author.role)


def _merged(
    draft: Draft, base: Mapping[str, bytes], first: Mapping[str, bytes], editable: Sequence[str]
) -> dict[str, bytes]:
    """Return the files of a commit: the baseline's, then the first parent's editable ones, then the draft's."""
    ours = {name: first[name] for name in editable if name in first}
    merged = {**base, **{name: bounded(base[name], data) if name in base else data for name, data in ours.items()}}
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
        if name in base:
            if (why := trespass(name, base[name], data)) and not fits_without_markers(base[name], data):
                raise BadInput(f"draft {draft.title!r} leaves what it may change: {why}")
            data = bounded(base[name], data)
        merged[name] = data
    if why := too_many_new(base, merged):
        raise BadInput(f"draft {draft.title!r} {why}: make fewer or smaller ones")
    return merged


def _check(draft: Draft) -> None:
    """Check the fields of a draft.

    Raises:
        BadInput: a field has the wrong type, or the title is empty.
    """
    words: dict[str, Any] = {"title": draft.title, "rationale": draft.rationale}
    for field, word in words.items():
        if not isinstance(word, str):
            raise BadInput(f"{field} of a draft is {word!r:.60}; use text")
    what = f"draft {draft.title!r:.80}"
    if not draft.title.strip():
        raise BadInput("title of a draft is empty; describe the change in one line")
    if not isinstance(draft.files, Mapping):
        raise BadInput(f"files of {what} is of type {type(draft.files).__name__}; use a dict of contents by path")
    for name, content in draft.files.items():
        if not isinstance(name, str) or not isinstance(content, str | bytes):
            raise BadInput(f"file {name!r:.60} of {what} is of type {type(content).__name__}; use bytes or text")
    if not isinstance(draft.parents, tuple | list) or not all(isinstance(parent, str) for parent in draft.parents):
        raise BadInput(f"parents of {what} is {draft.parents!r:.60}; use a tuple of trees, such as (board.champion,)")


def _has_baseline(board: Board) -> bool:
    return board.opened is None or board.opened.base_tree in board.proposals
