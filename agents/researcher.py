"""The researcher: a language model that reads a digest of the log and proposes real edits.

It has three moves: improve the champion (most often), recombine two good proposals (a commit with two parents), and
simplify. The next move depends on the agent's name and the number of its proposals. An unusable answer goes back to the
model once, with a sentence about what is wrong. A call without a proposal is posted as a fact with its cost.

It asks nothing before the baseline has a score. Budgets are read from the log, so a restart does not reset them. A call
that might exceed a budget is not made. Beside explorers that can propose, a researcher pauses while models have made
more than their share of the proposals.
"""

import datetime as dt
from typing import ClassVar

import anyio.to_thread

from agents.llm import client
from agents.llm.budget import Budget
from agents.llm.call_record import CallRecords
from agents.llm.changed_knobs import changed_knobs
from agents.llm.client import Message, ModelAnswer
from agents.llm.digest import digest, shorten, worth_recalling, worth_showing
from agents.llm.json_answer import SCHEMA
from agents.llm.model_options import number_option
from agents.llm.next_move import IdleExplorers, choose_with_code, is_due
from agents.llm.patch import Flaw, parse_answer
from agents.llm.prompt_files import prompt
from agents.llm.readiness import check_ready
from agents.search.history import History
from mesh.agent.draft import BASELINE, Draft
from mesh.agent.protocol import Answers, Context
from mesh.baseline import is_measured
from mesh.board import Board
from mesh.data_marks import tokens_of
from mesh.editable_paths import editable_paths
from mesh.errors import BadInput, Leaving
from mesh.events import Cost, KeptCall, ModelAsked, NotePosted, Origin
from mesh.model_pauses import unsaid_pause
from mesh.stalled import why_paused
from mesh.text import short
from mesh.wire import Post

_PROMPT_TOKENS, _ANSWER_TOKENS = 24_000, 8_000
"""Most tokens of a question (an upper estimate) and of its answer."""

_CALLS = 2
"""Calls for one proposal at most: the second one says what is wrong with the first answer."""

RETRY_SHARE = 0.25
"""Share of a question's tokens that is kept free for a retry: the first answer and what is wrong with it."""


class Researcher:
    """Asks a model for changes.

    Options: `model` (provider/name), `api_base`, `budget_usd`, `budget_tokens` (both per agent name, over restarts),
    `prompt_tokens`, `answer_tokens`, `timeout_s`, `reasoning_effort`, `temperature`, `top_p`, `structured` (auto or
    off). The agent leaves if its provider refuses the key or the model.
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
        self._name, self._code, self._texts = context.name, context.code, context.texts
        options = context.options
        self._wants_schema = options.get("structured", "auto") != "off"
        if not options.get("model"):
            raise BadInput("a researcher needs a model; give --model provider/name, such as openai/gpt-4o")
        self._budget = Budget(self._name, options, answer_tokens=_ANSWER_TOKENS, unposted=context.unposted)
        self._prompt_tokens = int(number_option(options, "prompt_tokens", _PROMPT_TOKENS) or 0)
        self._timeout_s = number_option(options, "timeout_s", 300.0) or 0.0
        least = tokens_of(_rules(with_schema=True)) * 2
        if self._prompt_tokens < least:
            raise BadInput(
                f"option prompt_tokens is {self._prompt_tokens}, too few for a question; use {least} or more"
            )
        self.reserves_usd = self._budget.reserve_usd(self._prompt_tokens, _CALLS)
        self._history = History(context.code.files)
        self._records = CallRecords(context.calls, self._budget.model, self._budget.answer_tokens)
        self._claimed: dict[str, tuple[Cost, KeptCall | None]] = {}
        self._leaving: Leaving | None = None
        self._spent = False
        self._has_budget = bool(options.get("budget_usd") or options.get("budget_tokens"))
        self._idle = IdleExplorers()

    async def check(self) -> None:
        """Check, before anything starts, that the model can be asked.

        Raises:
            BadInput: It cannot: its key, its budget or its server is missing, or it refuses.
        """
        await check_ready(self._budget.model, has_budget=self._has_budget)

    async def handle(self, post: Post, board: Board) -> Answers:
        """Propose a change if this researcher may ask now."""
        return await self._think(board, post.at)

    async def joined(self, board: Board) -> Answers:
        """Propose a change if this researcher may ask now; leave where its model cannot be held to a budget."""
        if unpriced := self._budget.why_unpriced(board):
            raise Leaving(unpriced)
        return await self._think(board, board.time)

    async def tick(self, now: dt.datetime, board: Board) -> Answers:
        """Propose a change if a pause has ended."""
        return await self._think(board, now)

    async def _think(self, board: Board, now: dt.datetime) -> Answers:
        self._budget.look(board)
        if self._leaving:
            raise self._leaving
        if board.opened is None or board.closed:
            return []
        if board.opened.base_tree not in board.proposals:
            return [BASELINE]
        if lost := self._lost(board) or self._budget.lost_calls(board):
            return lost
        if text := unsaid_pause(board, self._name):
            return [NotePosted(channel="search", text=text)]
        if (
            self._spent
            or not is_measured(board)
            or why_paused(board)
            or not is_due(board, self._name, now, alone=self._idle.seen(board, now))
        ):
            return []
        move, parents = await choose_with_code(board, self._name, self._code)
        return await self._ask(board, move, parents)

    def _lost(self, board: Board) -> list[ModelAsked]:
        """Return the cost of proposals that the log refused, because another agent had posted the same tree first."""
        lost = [
            tree for tree in self._claimed if tree in board.proposals and board.proposals[tree].author != self._name
        ]
        paid = [self._claimed[tree] for tree in lost]
        self._claimed.clear()
        return [
            self._budget.failed_call("propose", cost, True, "another agent had already posted the same files", call)
            for cost, call in paid
        ]

    async def _ask(self, board: Board, move: str, parents: tuple[str, ...]) -> Answers:
        """Ask the model, once more if the answer cannot be used; return the proposal or facts about the calls."""
        with_schema = self._wants_schema and await anyio.to_thread.run_sync(client.takes_schema, self._budget.model)
        schema = SCHEMA if with_schema else None
        messages = await self._question(board, move, parents, with_schema=with_schema)
        failed: list[ModelAsked | NotePosted] = []
        for _ in range(_CALLS):
            costs = (event.cost for event in failed if isinstance(event, ModelAsked))
            if stop := self._budget.exceeds(board, messages, costs):
                self._spent = True
                return [*failed, NotePosted(channel="ops", text=stop)]
            number = self._budget.unposted.begin(board, self._budget.most(messages))
            try:
                answer = await client.ask_model(
                    self._budget.model,
                    messages,
                    max_tokens=self._budget.answer_tokens,
                    timeout_s=self._timeout_s,
                    schema=schema,
                )
                self._budget.unposted.answered(number, answer.cost)
            except BadInput as error:
                self._budget.unposted.answered(number, Cost())
                self._leaving = Leaving(str(error))
                refused = ModelAnswer("", Cost(), str(error))
                if call := await self._records.keep(messages, refused, schema=schema):
                    failed.append(self._budget.failed_call(move, refused.cost, False, str(error), call))
                if failed:
                    return failed  # post the failed calls before leaving
                raise self._leaving from None
            call = await self._records.keep(messages, answer, schema=schema)
            if answer.notice:
                failed.append(NotePosted(channel="ops", text=answer.notice))
            if answer.trouble:
                return [
                    *failed,
                    self._budget.failed_call(move, answer.cost, answer.ok, answer.trouble, call),
                ]
            made = await self._made(board, answer, move, parents, call)
            if isinstance(made, Draft):
                return [*failed, made]
            failed.append(self._budget.failed_call(move, answer.cost, True, made.text, call))
            messages = [*messages[:2], *self._retry(answer, made)]
        return failed

    async def _made(
        self, board: Board, answer: ModelAnswer, move: str, parents: tuple[str, ...], call: KeptCall | None
    ) -> Draft | Flaw:
        assert board.opened is not None
        base = await self._code.files(board)
        first = await self._code.files(board, parents[0])
        editable = editable_paths(board.opened.spec, base, first)
        start = {**base, **{name: first[name] for name in editable if name in first}}
        patch = parse_answer(answer.text, start, editable, cut=answer.cut, thought=answer.thought)
        if isinstance(patch, Flaw):
            most = self._budget.answer_tokens
            return Flaw(
                patch.text
                + (f" (the answer was cut off at {most} tokens; make a smaller change)" if answer.cut else "")
            )
        tree = self._code.tree_of({**start, **patch.files})
        if tree in board.proposals:
            return Flaw(f"proposal {short(tree)} has exactly these files; propose another change")
        self._claimed[tree] = answer.cost, call
        return Draft(
            patch.files,
            f"{move}: {patch.title}",
            patch.rationale,
            parents,
            predicted_gain=patch.predicted_gain,
            confidence=patch.confidence,
            knobs=changed_knobs(start, patch.files, board.spec),
            origin=Origin(how="model", name=self._budget.model.name),
            cost=answer.cost,
            call=call,
        )

    async def _question(
        self, board: Board, move: str, parents: tuple[str, ...], *, with_schema: bool = False
    ) -> list[Message]:
        """Return the messages, within the token limit of a question and with room for a retry."""
        rules, task = _rules(with_schema=with_schema), prompt(move)
        room = int(self._prompt_tokens * (1 - RETRY_SHARE)) - tokens_of(rules) - tokens_of(task) - 16
        known = await self._history.read(board)
        shown = [board.opened.base_tree if board.opened else "", *worth_showing(board)]
        code = await self._code.at_hand(board, shown)
        code |= {parent: await self._code.files(board, parent) for parent in parents}
        if self._texts:
            await self._texts.recall(board, [*parents, *worth_recalling(board)])
        failed = board.failed_calls.get(self._name)
        flaws = failed.reasons if failed else []
        text = digest(board, parents, code, known.trials, max_tokens=room, flaws=flaws)
        return [{"role": "system", "content": rules}, {"role": "user", "content": f"{text}\n\n{task}"}]

    def _retry(self, answer: ModelAnswer, flaw: Flaw) -> list[Message]:
        whole = int(self._prompt_tokens * RETRY_SHARE) * 3
        why = shorten(flaw.text, whole // 3)
        retry = f"Your answer cannot be used: {why}. Write the whole answer again, in the requested form."
        room = max(0, whole - len(retry.encode()) - 48)
        return [{"role": "assistant", "content": shorten(answer.text, room)}, {"role": "user", "content": retry}]


def _rules(*, with_schema: bool) -> str:
    """Return the rules of a researcher and the form of its answers."""
    return f"{prompt('researcher')}\n\n{prompt('answer_json' if with_schema else 'answer_text')}"
