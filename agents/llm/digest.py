"""The digest: the text that a model reads about an arena, within a token limit. Pure.

Sections are ordered by importance, and the last ones are left out if they do not fit. All text from logs, posts, code
or other agents stands between marks. The marks contain a hash of the whole text, so no author can predict them and end
the data early. The arena's summary and brief come from its operator and stand outside the marks.

Shares bound what one part may take: the operator's words, the code, the evaluator's source, its feedback. What a part
does not need is left to those after it, and protected files fill what is left at the end.
"""

import difflib
from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec

from agents.llm.knob_table import knob_table
from agents.llm.task_words import context_files, evaluator_files, feedback_of, head_of, operators_words
from agents.search.samplers.protocol import Trial
from mesh.board import Board, Proposal
from mesh.data_marks import BoundedText, fence_of, fenced, tame
from mesh.editable_paths import editable_paths, text_names
from mesh.events import Failed
from mesh.evidence import fresh
from mesh.text import short

Files = Mapping[str, bytes]

_BEST, _RECENT, DEAD, CRITIQUES, _NOTES = 5, 8, 8, 10, 10
"""Most items of a section."""

WORDS, DIFF, LOG = 600, 1500, 800
"""Most bytes of one text, of a change, and of the end of a log."""

CODE_SHARE = 0.6
"""Share of what is left that code may take; longer code is shown without its middle."""

WORDS_SHARE, EVALUATOR_SHARE, FEEDBACK_SHARE = 0.25, 0.3, 0.15
"""Shares of the operator's words (of the whole), and of the evaluator and its feedback (of what is left)."""


class _Item(msgspec.Struct, frozen=True):
    """One piece of a section: our label, and text from another author."""

    label: str
    text: str


class _Section(msgspec.Struct, frozen=True):
    title: str
    items: list[_Item]


def digest(
    board: Board,
    parents: Sequence[str],
    code: Mapping[str, Files],
    trials: Sequence[Trial],
    *,
    max_tokens: int,
    flaws: Sequence[str] = (),
) -> str:
    """Return what a model should know before it changes `parents`.

    Args:
        board: The board of the arena.
        parents: The proposals to change, by tree hash.
        code: Files by proposal: those of the parents, and of other proposals whose changes are shown.
        trials: The finished trials, with the values of their knobs.
        max_tokens: Longest digest, in tokens of `tokens_of`.
        flaws: Why the model's last answers could not be used.
    """
    sections = [
        _Section(
            "Why your last answers could not be used", [_Item(f"Answer {n}", text) for n, text in enumerate(flaws, 1)]
        ),
        _Section("The best so far", _best(board, parents, code)),
        _Section("Dead ends: do not try these again", _dead_ends(board, code)),
        _Section("Notes of people", _people(board)),
        _Section("What has been tried of each knob", _knobs(board, parents, code, trials)),
        _Section("The latest proposals", _recent(board, parents, code)),
        _Section("Open critiques", _critiques(board, parents)),
    ]
    return _laid_out(board, parents, code, sections, max_tokens, base=_base(board, parents, code))


def _base(board: Board, parents: Sequence[str], code: Mapping[str, Files]) -> Files:
    """Return the files of the arena; every proposal has the same protected ones."""
    opened = board.opened.base_tree if board.opened else ""
    return next((code[tree] for tree in (opened, *parents) if tree in code), {})


def brief(board: Board, tree: str, code: Mapping[str, Files], *, max_tokens: int) -> str:
    """Return what a model should know before it judges a proposal: its change, the task, how it is scored, the best.

    Args:
        board: The board of the arena.
        tree: The proposal, by its tree hash.
        code: Files by proposal.
        max_tokens: Longest text, in tokens of `tokens_of`.
    """
    lead = _Section("The proposal to judge", [_judged(board, tree, code, max_tokens)])
    sections = [
        _Section("Dead ends", _dead_ends(board, code, without=tree)),
        _Section("The best so far", _best(board, [tree], code)),
    ]
    return _laid_out(board, [], code, sections, max_tokens, base=_base(board, [tree], code), lead=lead)


def shown_score(board: Board, tree: str) -> float | None:
    """Return the mean of a proposal's fresh scores, else of all its scores; None without a score."""
    values = [*fresh(board, tree).values()] or board.scores(tree)
    return sum(values) / len(values) if values else None


def ranked_proposals(board: Board) -> list[str]:
    """Return the proposals with a score: the champion first, then by score, the best first."""
    found = {tree: value for tree in board.proposals if (value := shown_score(board, tree)) is not None}

    def place(tree: str) -> tuple[bool, float, int]:
        return tree != board.champion, -board.spec.objective.gain(found[tree]), board.proposals[tree].seq

    return sorted(found, key=place)


def worth_showing(board: Board) -> list[str]:
    """Return the proposals whose code a digest shows, the most important first."""
    return list(
        dict.fromkeys(
            [*ranked_proposals(board)[:_BEST], *_ended(board)[:DEAD], *reversed(list(board.proposals)[-_RECENT:])]
        )
    )


def worth_recalling(board: Board) -> list[str]:
    """Return the proposals whose texts a digest may show: the best, dead and latest ones of models and people."""
    worded = [tree for tree in board.proposals if not _is_tuned(board, tree)]
    most = _BEST + DEAD + _RECENT + 4
    ranked, ended = (
        [t for t in found if not _is_tuned(board, t)] for found in (ranked_proposals(board), _ended(board))
    )
    return list(dict.fromkeys([*ranked[:most], *ended[:most], *worded[-most:]]))


def shorten(text: str, limit: int, note: str = ", so change this file only by SEARCH/REPLACE") -> str:
    """Return a text of at most `limit` bytes; a longer text keeps its beginning and its end."""
    data = text.encode(errors="replace")
    if len(data) <= limit:
        return text
    mark = f"\n[… {len(data):,} bytes; the middle is left out{note} …]\n"
    left = limit - len(mark.encode())
    if left < 2:
        return data[:limit].decode(errors="ignore")
    head, tail = data[: left - left // 3], data[len(data) - left // 3 :]
    return head.decode(errors="ignore") + mark + tail.decode(errors="ignore")


def _laid_out(
    board: Board,
    parents: Sequence[str],
    code: Mapping[str, Files],
    sections: Sequence[_Section],
    max_tokens: int,
    base: Files,
    lead: _Section | None = None,
) -> str:
    """Return head, `lead`, the operator's words, code, feedback, evaluator, sections and context, with marks.

    With a `lead`, which is a proposal to judge, there is no context.
    """
    whole = [_source(code.get(tree, {}), editable_paths(board.spec, code.get(tree, {}))) for tree in parents]
    words = operators_words(board.spec, base)
    scored = [feedback_of(board, tree) for tree in parents]
    evaluator, context = evaluator_files(board.spec, base), {} if lead else context_files(board.spec, base)
    leading = [lead] if lead else []
    shown = [words, *evaluator.values(), *context.values(), *(str(each) for each in scored)]
    fence = fence_of(
        board,
        [
            *(t for files in whole for t in files.values()),
            *(i.text for s in [*leading, *sections] for i in s.items),
            *shown,
        ],
    )
    text = BoundedText(max_tokens)
    put = text.put

    def put_files(title: str, files: Mapping[str, str], most: int) -> None:
        """Put files that may take `most` bytes in all: whole ones, but the first also without its middle."""
        spent = len(f"## {title}") + 2
        for number, (name, source) in enumerate(files.items()):
            left = most - spent - len(fenced(name, "", fence).encode()) - 2
            fits = len(tame(source).encode(errors="replace")) <= left
            if not fits and (number or left < 600):
                break
            if not number:
                put(f"## {title}")
            body = fenced(name, shorten(tame(source), left, ""), fence)
            put(body)
            spent += len(body.encode()) + 2

    def put_sections(wanted: Sequence[_Section]) -> None:
        for section in wanted:
            items = [fenced(item.label, tame(item.text), fence) for item in section.items]
            if items and len(f"## {section.title}{items[0]}".encode()) + 4 <= text.room:
                put(f"## {section.title}")
                for item in items:
                    if not put(item):
                        break

    head = head_of(board.spec, fence)
    put(head if len(head.encode()) + 2 <= text.room else shorten(head, max(0, text.room - 2)))
    put_sections(leading)
    if words:
        title = "## The task, in the words of its operator\n\n"
        put(title + shorten(tame(words).replace(fence, ""), int(text.room * WORDS_SHARE) - len(title), ""))
    share = int(text.room * CODE_SHARE) // max(1, sum(len(files) for files in whole))
    for letter, tree, files in zip("ABCDEFGH", parents, whole, strict=False):
        put(f"## Parent {letter}: proposal {short(tree)}, {_result(board, tree)}")
        for name, source in files.items():
            label = f"{name} of parent {letter}"
            frame = len(fenced(label, "", fence).encode())
            put(fenced(label, shorten(source, max(0, share - frame)), fence))
    most = int(text.room * FEEDBACK_SHARE) // max(1, len(parents))
    for letter, feedback in zip("ABCDEFGH", scored, strict=False):
        for label, told in (("Numbers", feedback.metrics), ("Output", feedback.output)) if feedback else ():
            if told and most > 400:
                put(fenced(f"{label} of the latest run of parent {letter}", _end(tame(told), most // 2), fence))
    put_files("How it is scored (protected)", evaluator, int(text.room * EVALUATOR_SHARE))
    put_sections(sections)
    put_files("Other files of the task (protected)", context, text.room)
    return text.whole()


def _best(board: Board, parents: Sequence[str], code: Mapping[str, Files]) -> list[_Item]:
    first = [tree for tree in ranked_proposals(board) if tree not in parents and not _is_tuned(board, tree)][:_BEST]
    return [_proposal(board, tree, code) for tree in first]


def _recent(board: Board, parents: Sequence[str], code: Mapping[str, Files]) -> list[_Item]:
    known = {*parents, *(tree for tree in ranked_proposals(board)[: _BEST + len(parents)]), *_ended(board)[:DEAD]}
    return [
        _proposal(board, tree, code)
        for tree in reversed(board.proposals)
        if tree not in known and not _is_tuned(board, tree)
    ][:_RECENT]


def _dead_ends(board: Board, code: Mapping[str, Files], *, without: str = "") -> list[_Item]:
    every = [tree for tree in _ended(board) if tree != without]
    ended = [tree for tree in every if not _is_tuned(board, tree)]
    items = [_proposal(board, tree, code, log=True) for tree in ended[:DEAD]]
    if tuned := [tree for tree in every if _is_tuned(board, tree)]:
        items.append(_tuned_failures(board, tuned))
    return items


def _is_tuned(board: Board, tree: str) -> bool:
    """Tell whether a sampler made a proposal: such proposals change values of knobs only, and are summed up."""
    return board.proposals[tree].event.origin.how == "sampler"


def _tuned_failures(board: Board, trees: Sequence[str]) -> _Item:
    failures = [found[-1][0] for tree in trees if (found := _failures(board, board.proposals[tree]))]
    counts = Counter(failure.reason.replace("_", " ") for failure in failures)
    lines = [f"{count} {reason}" for reason, count in counts.most_common()]
    return _Item(
        f"{len(trees)} proposals of samplers, which change values of knobs only",
        "\n".join([", ".join(lines), *(shorten(failure.message, WORDS) for failure in failures[:1])]),
    )


def _judged(board: Board, tree: str, code: Mapping[str, Files], max_tokens: int) -> _Item:
    event = board.proposals[tree].event
    gain = None if event.predicted_gain is None else f"predicted gain {event.predicted_gain:g}"
    sure = None if event.confidence is None else f"confidence {event.confidence:g}"
    parents = [f"{short(parent)} ({_result(board, parent)})" for parent in event.parents]
    known = feedback_of(board, event.parents[0]) if event.parents else None
    lines = [
        shorten(event.title, WORDS // 2),
        shorten(event.rationale, WORDS),
        ", ".join(filter(None, (gain, sure))),
        f"parents: {', '.join(parents[:2])}" if parents else "",
        f"numbers of the first parent's latest run:\n{shorten(known.metrics, WORDS)}" if known else "",
        shorten(_change(board, tree, code), max_tokens * 3 // 2),
    ]
    return _Item(f"Proposal {short(tree)} ({event.origin.how})", "\n".join(filter(None, lines)))


def _ended(board: Board) -> list[str]:
    """Return the failed, early-stopped and blocked proposals, the latest first."""
    return [
        tree
        for tree, proposal in reversed(board.proposals.items())
        if proposal.why in ("failed", "killed", "blocked") or (not board.scores(tree) and _failures(board, proposal))
    ]


def _failures(board: Board, proposal: Proposal) -> list[tuple[Failed, str]]:
    ends = [run.finished for name in proposal.runs if (run := board.runs[name]).finished]
    return [(end.outcome, end.log_tail) for end in ends if end and isinstance(end.outcome, Failed)]


def _proposal(board: Board, tree: str, code: Mapping[str, Files], *, log: bool = False) -> _Item:
    proposal = board.proposals[tree]
    event = proposal.event
    lines = [shorten(event.title, WORDS // 2)]
    if event.rationale:
        lines.append(shorten(event.rationale, WORDS))
    if log:
        lines += [shorten(c.text, WORDS) for c in proposal.critiques if c.verdict == "block"]
        for failure, tail in _failures(board, proposal)[-1:]:
            lines.append(shorten(failure.message, WORDS))
            lines.append(tail.encode(errors="replace")[-LOG:].decode(errors="ignore"))
    if change := _change(board, tree, code):
        lines.append(shorten(change, DIFF))
    return _Item(f"Proposal {short(tree)} ({event.origin.how}), {_result(board, tree)}", "\n".join(filter(None, lines)))


def _change(board: Board, tree: str, code: Mapping[str, Files]) -> str:
    """Return the diff of a proposal against its first parent; "" if the code of one is not available."""
    base = board.opened.base_tree if board.opened else ""
    parents = board.proposals[tree].event.parents
    before = next((p for p in (*parents, base) if p in code), None)
    if tree not in code or before is None or before == tree:
        return ""
    editable = editable_paths(board.spec, code[before], code[tree])
    old, new = _source(code[before], editable), _source(code[tree], editable)
    lines: list[str] = []
    for name in editable:
        a, b = old.get(name, "").splitlines(), new.get(name, "").splitlines()
        lines += difflib.unified_diff(a, b, f"{name} of {short(before)}", name, lineterm="", n=1)
    return "\n".join(lines)


def _result(board: Board, tree: str) -> str:
    proposal = board.proposals.get(tree)
    if proposal is None:
        return "not run yet"
    state = (
        "champion" if tree == board.champion else " ".join([proposal.verdict, proposal.why]).replace("_", " ").strip()
    )
    found = shown_score(board, tree)
    if found is not None:
        runs = len(board.scores(tree))
        return f"{board.spec.objective.metric} {found:.6g} ({runs} run{'s' if runs != 1 else ''}), {state}"
    failures = _failures(board, proposal)
    return f"{failures[-1][0].reason.replace('_', ' ')}, {state}" if failures else f"no result, {state}"


def _people(board: Board) -> list[_Item]:
    machines = {member.name for member in [*board.agents.values(), *board.workers.values()]}
    notes = [note for note in reversed(board.latest) if note.author not in machines]
    return [
        _Item(f"Note {note.seq}", f"{note.author} in {note.channel}: {shorten(note.text, WORDS)}")
        for note in notes[:_NOTES]
    ]


def _critiques(board: Board, parents: Sequence[str]) -> list[_Item]:
    about = [*parents, *(tree for tree in reversed(board.undecided) if tree not in parents)]
    return [
        _Item(f"Proposal {short(tree)}, {critique.verdict}", f"{critique.rule}: {shorten(critique.text, WORDS)}")
        for tree in about
        if tree in board.proposals
        for critique in board.proposals[tree].critiques
        if critique.verdict != "endorse"
    ][:CRITIQUES]


def _knobs(board: Board, parents: Sequence[str], code: Mapping[str, Files], trials: Sequence[Trial]) -> list[_Item]:
    found = knob_table(board.spec, code.get(parents[0], {}) if parents else {}, trials)
    return [_Item(*found)] if found else []


def _source(files: Files, editable: Sequence[str]) -> dict[str, str]:
    return {name: files[name].decode(errors="replace") for name in text_names(editable, files)}


def _end(text: str, limit: int) -> str:
    """Return the last bytes of a text, from the beginning of a line."""
    data = text.encode(errors="replace")
    return text if len(data) <= limit else "…" + data[-limit:].decode(errors="ignore").partition("\n")[2]
