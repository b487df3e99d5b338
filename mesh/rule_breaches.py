"""Which proposals of an arena break the rules of a version, by their code: `mesh.version_rules` is the rule itself.

Who opens a version looks at all proposals that there are; a critic and whoever drafts a proposal look at that one.
"""

import copy
from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec

from mesh.board import Board
from mesh.code import CodeStore
from mesh.errors import ObjectMissing
from mesh.events import ArenaOpened, KnobChange, ProposalPromoted, RuledOut
from mesh.ruling_out import reinstated, rule_out
from mesh.text import plain_number, printable, short
from mesh.version_rules import VersionRules

MOST_RULED_OUT = 10_000
"""Proposals that one `arena.opened` rules out: champions first, then the latest."""

_SENTENCES = 4
"""Sentences about what a version rules out."""

_last: dict[tuple[str, int, str], VersionRules] = {}


def rules_of(opened: ArenaOpened, base: Mapping[str, bytes]) -> VersionRules:
    """Return the rules of a version; those asked for last are kept.

    Args:
        opened: the version.
        base: the files of its base commit.
    """
    key = (opened.spec.name, opened.version, opened.base_commit)
    if key not in _last:
        made = VersionRules(opened.version, opened.spec, base)
        _last.clear()
        _last[key] = made
    return _last[key]


def turned_literals(
    board: Board, parents: Sequence[str], changes: Iterable[KnobChange] = (), *, is_sampler: bool = True
) -> set[tuple[str, str]]:
    """Return file and name of the literals that samplers changed, in a proposal and in those that it comes from.

    Args:
        board: The board of the arena.
        parents: The trees that the proposal comes from.
        changes: The knobs that it changes itself.
        is_sampler: Whether a sampler made it.
    """
    found = {(change.file, change.name) for change in changes} if is_sampler else set()
    waiting, seen = list(parents), set[str]()
    while waiting:
        tree = waiting.pop()
        if tree in seen or tree not in board.proposals:
            continue
        seen.add(tree)
        event = board.proposals[tree].event
        waiting += event.parents
        if event.origin.how == "sampler":
            found |= {(change.file, change.name) for change in event.knobs}
    return found


def base_commit_of(board: Board, tree: str) -> str:
    """Return the base commit that a proposal was made under."""
    seq = board.proposals[tree].seq
    return next((commit for opened, commit in reversed(board.bases) if opened < seq), board.bases[0][1])


def coming_lines(board: Board, version: int, groups: Sequence[RuledOut]) -> list[str]:
    """Return in sentences what a version that is not open yet would change for the proposals of a board.

    Args:
        board: The board of the arena, as it is now.
        version: The number of the version.
        groups: The proposals that it would rule out.
    """
    if board.opened is None:
        return []
    after, lines = copy.deepcopy(board), list[str]()
    rule_out(after, board.seq + 1, msgspec.structs.replace(board.opened, version=version, ruled_out=tuple(groups)))
    before = {tree for tree, proposal in board.proposals.items() if proposal.ruled_out}
    now = {tree: proposal.ruled_out for tree, proposal in after.proposals.items() if proposal.ruled_out}
    champion = after.heir or after.champion
    if new := [tree for tree in now if tree not in before]:
        reasons = list(dict.fromkeys(now[tree] for tree in new))
        more = f"; {len(reasons) - _SENTENCES} more reasons" if len(reasons) > _SENTENCES else ""
        among = ", the champion among them," if board.champion in new else ""
        many = f"{len(new):,} proposals{among}" if len(new) > 1 else "the champion" if among else "1 proposal"
        texts = [text.replace("has ", "have ", 1) if len(new) > 1 else text for text in reasons[:_SENTENCES]]
        they, why = "they" if len(new) > 1 else "it", "; ".join(texts) + more
        lines.append(f"{many} would count nowhere from version {version} on: {they} {why}")
    if back := len(before - now.keys()):
        lines.append(
            f"{back:,} proposal{'s' if back > 1 else ''} that {'are' if back > 1 else 'is'} ruled out would count again"
        )
    if lines and champion != board.champion:
        to_come = "there would be no champion until the new baseline is measured"
        lines.append(f"the champion would be {_champion_words(board, champion)}" if champion else to_come)
    return lines


def meaning_lines(board: Board, champion: str) -> list[str]:
    """Return in sentences what the version in force makes of earlier proposals; none if it rules out nothing.

    Args:
        board: The board as of the opening of the version.
        champion: The champion before that.
    """
    if board.opened is None:
        return []
    lines, version = list[str](), board.opened.version
    for group in board.opened.ruled_out[:_SENTENCES]:
        count = len(group.proposals)
        many = "1 proposal no longer counts: it" if count == 1 else f"{count:,} proposals no longer count: they"
        text = group.text if count == 1 else group.text.replace("has ", "have ", 1)
        lines.append(f"{many} {text}")
    if len(board.opened.ruled_out) > _SENTENCES:
        count = sum(len(group.proposals) for group in board.opened.ruled_out[_SENTENCES:])
        lines.append(
            f"{count:,} more proposals no longer count, for {len(board.opened.ruled_out) - _SENTENCES} reasons"
        )
    if again := reinstated(board):
        words = _champion_words(board, again.proposal)
        lines.append(f"the champion is now {words}: the last one that keeps to version {version}")
    elif champion and not board.champion:
        lines.append(f"there is no champion now: the baseline of version {version} is measured, and becomes the first")
    return lines


def _champion_words(board: Board, tree: str) -> str:
    """Return a past champion in words, with the mean of its last promotion."""
    proposal = board.proposals[tree]
    last = next(each for each in reversed(proposal.rulings) if isinstance(each, ProposalPromoted))
    title = printable(proposal.event.title, 80)
    return f"{short(tree)} ({title}), {board.spec.objective.metric} {plain_number(last.mean)}"


async def breaches(
    board: Board, rules: VersionRules, store: CodeStore, base_tree: str, *, only: Collection[str] | None = None
) -> tuple[RuledOut, ...]:
    """Return the proposals of a board that break the rules of a version, by what they changed.

    A proposal whose code nobody has shared is not judged.

    Args:
        board: the board, before the version is opened.
        rules: the rules of the version.
        store: the code store of the arena.
        base_tree: the tree of the version's baseline, which breaks nothing.
        only: the proposals to look at; None looks at all.

    Raises:
        BusError: the log cannot be reached.
    """
    bases: dict[str, dict[str, bytes]] = {}
    found: dict[str, str] = {}
    for tree, proposal in board.proposals.items():
        if tree == base_tree or (only is not None and tree not in only):
            continue
        commit = base_commit_of(board, tree)
        try:
            if commit not in bases:
                bases[commit] = await store.files(commit)
            files = await store.files(proposal.event.commit, base=commit)
        except ObjectMissing:
            continue
        turned = turned_literals(board, (tree,)) if rules.asks_samplers else ()
        if why := rules.breach(files, bases[commit], turned=turned):
            found[tree] = why
    crowned = [tree for tree in reversed(board.champions) if tree in found]
    chosen = list(dict.fromkeys([*crowned, *reversed(found)]))[:MOST_RULED_OUT]
    groups: dict[str, list[str]] = {}
    for tree in chosen:
        groups.setdefault(found[tree], []).append(tree)
    return tuple(RuledOut(text=text, proposals=tuple(trees)) for text, trees in groups.items())
