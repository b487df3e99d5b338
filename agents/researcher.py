"""The researcher: a language model that reads a digest of the log and proposes real edits.

Its moves are to improve the champion (most often), to recombine two good proposals (a commit with two parents) and to
simplify; which is next depends on its name and on how many proposals it has made. An answer that cannot be used is
shown to the model once, with what is wrong; a call that led to nothing is a fact with its cost. Budgets are kept from
the log, so that a restart changes none, and before a call: one that might exceed them is not made. Where explorers are
there too, it keeps quiet while models have made more than their share of the proposals.
"""

import datetime as dt
import hashlib
from collections.abc import Mapping, Sequence
from typing import ClassVar

from agents.llm import client
from agents.llm.budget import Budget, number_option, pauses
from agents.llm.client import Message, ModelAnswer, prompt
from agents.llm.digest import digest, ranked_proposals, shorten, tokens_of, worth_showing
from agents.llm.patch import Flaw, Patch, parse_answer
from agents.search.knobs import knobs_of
from agents.search.samplers.history import History
from mesh.agent.draft import BASELINE, Draft
from mesh.agent.protocol import Answers, Context
from mesh.board import Board
from mesh.errors import BadInput, Leaving
from mesh.events import Cost, KnobChange, ModelAsked, NotePosted, Origin
from mesh.fleet import agents_here
from mesh.text import short
from mesh.wire import Post

UNDECIDED = 2
"""Proposals of one researcher that may wait for a verdict."""

_SHARE = 0.3
"""Share of the proposals that models make where samplers are there too."""

MOVES = ("improve",) * 6 + ("recombine",) * 3 + ("simplify",)
"""Moves in proportion to how often they are made."""

_PROMPT_TOKENS, _ANSWER_TOKENS = 24_000, 8_000
"""Tokens of a question, counted from above, and of its answer at most."""

RETRY_SHARE = 0.25
"""Share of a question that is kept free for a first answer and what is wrong with it."""


class Researcher:
    """Asks a model.

    Options: `model` (provider/name), `api_base`, `budget_usd`, `budget_tokens` (of this name, over all its lives),
    `prompt_tokens`, `answer_tokens`, `timeout_s`. It leaves where its provider will never answer.
    """

    listens: ClassVar[tuple[str, ...]] = (
        "proposal.posted",
        "run.finished",
        "proposal.promoted",
        "proposal.retired",
        "arena.opened",
    )
    only_latest: ClassVar[bool] = True
    role: ClassVar[str] = "researcher"
    every_s: ClassVar[float] = 5.0

    def __init__(self, context: Context) -> None:
        self._name, self._code = context.name, context.code
        options = context.options
        if not options.get("model"):
            raise BadInput("a researcher needs a model: give --model provider/name, such as openai/gpt-4o")
        self._budget = Budget(self._name, options, answer_tokens=_ANSWER_TOKENS)
        self._prompt_tokens = int(number_option(options, "prompt_tokens", _PROMPT_TOKENS) or 0)
        self._timeout_s = number_option(options, "timeout_s", 300.0) or 0.0
        least = tokens_of(prompt("researcher")) * 2
        if self._prompt_tokens < least:
            raise BadInput(
                f"option prompt_tokens={self._prompt_tokens} is too few for a question: give {least} or more"
            )
        self._history = History(context.code.files)
        self._claimed: dict[str, Cost] = {}
        self._leaving: Leaving | None = None
        self._spent = False

    async def handle(self, post: Post, board: Board) -> Answers:
        """Propose, where it is this researcher's turn."""
        return await self._think(board, post.at)

    async def joined(self, board: Board) -> Answers:
        """Propose, where it is this researcher's turn."""
        return await self._think(board, board.time)

    async def tick(self, now: dt.datetime, board: Board) -> Answers:
        """Propose, where something that was in the way has passed with time."""
        return await self._think(board, now)

    async def _think(self, board: Board, now: dt.datetime) -> Answers:
        if self._leaving:
            raise self._leaving
        if board.opened is None or board.closed:
            return []
        if board.opened.base_tree not in board.proposals:
            return [BASELINE]
        if lost := self._lost(board):
            return lost
        if self._spent or not is_due(board, self._name, now):
            return []
        made = [p for p in board.proposals.values() if p.author == self._name]
        move, parents = choose(board, self._name, len(made))
        return await self._ask(board, move, parents)

    def _lost(self, board: Board) -> list[ModelAsked]:
        """Tell what was spent on a proposal whose tree another had posted when it came: the log refused it."""
        lost = [
            tree for tree in self._claimed if tree in board.proposals and board.proposals[tree].author != self._name
        ]
        costs = [self._claimed[tree] for tree in lost]
        self._claimed.clear()
        return [self._budget.failed_call("propose", cost, True, "another had posted the same files") for cost in costs]

    async def _ask(self, board: Board, move: str, parents: tuple[str, ...]) -> Answers:
        """Ask, once more where the answer cannot be used, and return what came of it."""
        messages = await self._question(board, move, parents)
        told: list[ModelAsked] = []
        for _ in range(2):
            costs = (event.cost for event in told)
            if stop := self._budget.exceeds(board, messages, costs):
                self._spent = True
                return [*told, NotePosted(channel="ops", text=stop)]
            try:
                answer = await client.ask_model(
                    self._budget.model,
                    messages,
                    max_tokens=self._budget.answer_tokens,
                    timeout_s=self._timeout_s,
                )
            except BadInput as error:
                self._leaving = Leaving(str(error))
                if told:
                    return told  # what was paid for is said before it leaves
                raise self._leaving from None
            if answer.trouble:
                return [*told, self._budget.failed_call(move, answer.cost, False, answer.trouble)]
            made = await self._made(board, answer, move, parents)
            if isinstance(made, Draft):
                return [*told, made]
            told.append(self._budget.failed_call(move, answer.cost, True, made.text))
            messages = [*messages[:2], *self._retry(answer, made)]
        return told

    async def _made(self, board: Board, answer: ModelAnswer, move: str, parents: tuple[str, ...]) -> Draft | Flaw:
        assert board.opened is not None
        editable = board.opened.spec.artifact.editable
        base = await self._code.files(board)
        first = await self._code.files(board, parents[0])
        start = {**base, **{name: first[name] for name in editable if name in first}}
        patch = parse_answer(answer.text, start, editable)
        if isinstance(patch, Flaw):
            most = self._budget.answer_tokens
            return Flaw(patch.text + (f" (the answer was cut off at {most} tokens: change less)" if answer.cut else ""))
        tree = self._code.tree_of({**start, **patch.files})
        if tree in board.proposals:
            return Flaw(f"these very files were proposed before, as {short(tree)}: propose something else")
        self._claimed[tree] = answer.cost
        return Draft(
            patch.files,
            f"{move}: {patch.title}",
            patch.rationale,
            parents,
            predicted_gain=patch.predicted_gain,
            confidence=patch.confidence,
            knobs=_knobs(start, patch, editable),
            origin=Origin(how="model", name=self._budget.model.name),
            cost=answer.cost,
        )

    async def _question(self, board: Board, move: str, parents: tuple[str, ...]) -> list[Message]:
        """Return the messages, within the tokens of a question, with room for a retry."""
        rules, task = prompt("researcher"), prompt(move)
        room = int(self._prompt_tokens * (1 - RETRY_SHARE)) - tokens_of(rules) - tokens_of(task) - 16
        known = await self._history.read(board)
        shown = [board.opened.base_tree if board.opened else "", *worth_showing(board)]
        code = await self._code.at_hand(board, shown)
        code |= {parent: await self._code.files(board, parent) for parent in parents}
        text = digest(board, parents, code, known.trials, max_tokens=room)
        return [{"role": "system", "content": rules}, {"role": "user", "content": f"{text}\n\n{task}"}]

    def _retry(self, answer: ModelAnswer, flaw: Flaw) -> list[Message]:
        whole = int(self._prompt_tokens * RETRY_SHARE) * 3
        why = shorten(flaw.text, whole // 3)
        retry = f"Your answer cannot be used: {why}. Write the whole answer again, in the form asked for."
        room = max(0, whole - len(retry.encode()) - 48)
        return [{"role": "assistant", "content": shorten(answer.text, room)}, {"role": "user", "content": retry}]


def is_due(board: Board, name: str, now: dt.datetime) -> bool:
    """Tell whether a researcher may ask: it waits for verdicts, after calls in vain, and for samplers to catch up."""
    if sum(board.proposals[tree].author == name for tree in board.undecided) >= UNDECIDED:
        return False
    if pauses(board, name, now):
        return False
    if not agents_here(board, "explorer"):
        return True
    origins = [proposal.event.origin.how for proposal in board.proposals.values()]
    models, samplers = origins.count("model"), origins.count("sampler")
    return models <= _SHARE * (models + samplers)


def choose(board: Board, name: str, made: int) -> tuple[str, tuple[str, ...]]:
    """Return the next move and the proposals that it begins with, the first of which is to be changed."""
    assert board.opened is not None
    dice = int.from_bytes(hashlib.sha256(f"{name} {made}".encode()).digest()[:8])
    move = MOVES[dice % len(MOVES)]
    ranked = ranked_proposals(board)
    first = ranked[0] if ranked else board.opened.base_tree
    others = [tree for tree in ranked[1:5] if tree != board.opened.base_tree]
    if move == "recombine" and others:
        return move, (first, others[dice // len(MOVES) % len(others)])
    return ("improve" if move == "recombine" else move), (first,)


def _knobs(before: Mapping[str, bytes], patch: Patch, editable: Sequence[str]) -> tuple[KnobChange, ...]:
    """Return the knobs that both have, with other values."""
    old = {(knob.file, knob.name): knob.value for knob in knobs_of(before, editable)}
    new = {(knob.file, knob.name): knob.value for knob in knobs_of(patch.files, editable)}
    return tuple(
        KnobChange(file=at[0], name=at[1], old=old[at], new=value)
        for at, value in new.items()
        if at in old and (type(old[at]), old[at]) != (type(value), value)
    )
