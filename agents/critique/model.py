"""A model's opinion of a proposal, before compute is spent. It becomes part of the critic's one critique.

The model is asked about several proposals at once, for at most `ANSWER_S`. Its budgets are read from the log
(`agents.llm.budget`). A failed call or an unreadable answer is posted as a fact with its cost; the critique by rules
then stands alone. A model is never certain: its blocks are opinions, and a bad record overrules them.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import anyio
import msgspec
from msgspec.structs import replace

from agents.critique.calibration import ANSWER_S
from agents.llm import client
from agents.llm.budget import Budget
from agents.llm.call_record import CallRecords
from agents.llm.client import Message, ModelAnswer
from agents.llm.digest import Files, brief
from agents.llm.hidden_keys import clean
from agents.llm.model_options import number_option
from agents.llm.patch import Flaw
from agents.llm.prompt_files import prompt
from agents.llm.thoughts import without_thoughts
from mesh.agent.call_keeper import CallKeeper
from mesh.board import Board
from mesh.bounds import MAX_NUMBER
from mesh.data_marks import tame, tokens_of
from mesh.errors import BadInput
from mesh.events import AnyEvent, Cost, CritiquePosted, KeptCall, ModelAsked, NotePosted
from mesh.model_pauses import pauses

AT_ONCE = 4
"""Number of proposals that a model is asked about at a time; rules alone judge the others."""

_PROMPT_TOKENS, _ANSWER_TOKENS = 6_000, 1_000
"""Most tokens of a question (an upper estimate) and of its answer."""

SUREST = 0.99
"""Highest confidence of a model's opinion: only rules are certain."""

TEXT = 600
"""Most characters of a model's text."""

_FIELD = re.compile(r"[#*\s>-]*(verdict|predicted|confidence|text)\**\s*[:=]\**\s*(.*)", re.IGNORECASE)
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", re.IGNORECASE)
_SEVERITY = ("endorse", "warn", "block")


class Judgement(msgspec.Struct, frozen=True):
    """A model's opinion of a proposal; `predicted` is the score it expects, None if it expects none."""

    verdict: Literal["endorse", "warn", "block"]
    predicted: float | None
    confidence: float
    text: str


class ModelCritic:
    """Asks a model about proposals that passed the rules.

    Options: those of `Budget`, `prompt_tokens`, and `timeout_s` (at most `ANSWER_S`).
    """

    def __init__(
        self,
        name: str,
        options: Mapping[str, str],
        calls: CallKeeper | None = None,
        unposted: Path | None = None,
    ) -> None:
        self._name = name
        self._budget = Budget(name, options, answer_tokens=_ANSWER_TOKENS, unposted=unposted)
        self._prompt_tokens = int(number_option(options, "prompt_tokens", _PROMPT_TOKENS) or 0)
        self._timeout_s = number_option(options, "timeout_s", ANSWER_S) or 0.0
        if self._timeout_s > ANSWER_S:
            raise BadInput(
                f"option timeout_s is {self._timeout_s:g} s, above the limit of {ANSWER_S:g} s; use a smaller number"
            )
        least = tokens_of(prompt("critic")) * 2
        if self._prompt_tokens < least:
            raise BadInput(
                f"option prompt_tokens is {self._prompt_tokens}, too few for a question; use {least} or more"
            )
        self.reserves_usd = self._budget.reserve_usd(self._prompt_tokens, 2 * AT_ONCE)  # and an earlier life's
        self._records = CallRecords(calls, self._budget.model, self._budget.answer_tokens)
        self._silent = False
        self._owed: list[Cost] = []

    def worth_asking(self, board: Board, critiques: Sequence[CritiquePosted]) -> list[CritiquePosted]:
        """Return the critiques of waiting proposals that the model may be asked about now."""
        self._budget.look(board)
        if self._silent or pauses(board, self._name, board.time):
            return []
        passed = [c for c in critiques if c.verdict != "block" and c.rule != "baseline"]
        return [c for c in passed if not board.proposals[c.target].runs][:AT_ONCE]

    def lost_calls(self, board: Board) -> list[ModelAsked]:
        """Return the fact about calls that an earlier life of this critic has paid for without a fact."""
        lost = self._budget.lost_calls(board)
        self._owed = [event.cost for event in lost]
        return lost

    async def of(self, board: Board, critiques: Sequence[CritiquePosted], code: Mapping[str, Files]) -> list[AnyEvent]:
        """Return each critique, with the model's opinion if it answers in time, else with a fact about the cost."""
        events: list[AnyEvent] = []
        reserved = list(self._owed)
        found: dict[str, list[AnyEvent]] = {}
        async with anyio.create_task_group() as tasks:
            for critique in critiques:
                messages = self._question(board, critique.target, code)
                if stop := self._budget.exceeds(board, messages, reserved):
                    events += self._silence(stop)
                    break
                reserved.append(self._budget.most(messages))
                number = self._budget.unposted.begin(board, reserved[-1])
                tasks.start_soon(self._ask, critique, messages, found, number)
        for critique in critiques:
            events += found.get(critique.target, [critique])
        return events

    async def _ask(
        self, critique: CritiquePosted, messages: Sequence[Message], found: dict[str, list[AnyEvent]], number: int
    ) -> None:
        try:
            answer = await client.ask_model(
                self._budget.model,
                messages,
                max_tokens=self._budget.answer_tokens,
                timeout_s=self._timeout_s,
                within_s=self._timeout_s,
            )
            self._budget.unposted.answered(number, answer.cost)
        except BadInput as error:
            self._budget.unposted.answered(number, Cost())
            refused = ModelAnswer("", Cost(), str(error))
            call = await self._records.keep(messages, refused)
            failed = [self._budget.failed_call("critique", refused.cost, False, str(error), call)] if call else []
            silence = self._silence(f"{self._name} judges by rules alone: {error}")
            found[critique.target] = [*failed, *silence, critique]
            return
        call = await self._records.keep(messages, answer)
        opinion = Flaw(answer.trouble) if answer.trouble else read_judgement("" if answer.thought else answer.text)
        if isinstance(opinion, Flaw):
            unread = self._budget.failed_call("critique", answer.cost, answer.ok, opinion.text, call)
            found[critique.target] = [unread, critique]
        else:
            found[critique.target] = [joined(critique, opinion, self._budget.model.name, answer.cost, call)]

    def _silence(self, why: str) -> list[AnyEvent]:
        """Stop asking until the next restart, and post the reason once."""
        if self._silent:
            return []
        self._silent = True
        return [NotePosted(channel="ops", text=why)]

    def _question(self, board: Board, tree: str, code: Mapping[str, Files]) -> list[Message]:
        rules = prompt("critic")
        room = self._prompt_tokens - tokens_of(rules) - 8
        return [
            {"role": "system", "content": rules},
            {"role": "user", "content": brief(board, tree, code, max_tokens=room)},
        ]


def read_judgement(answer: str) -> Judgement | Flaw:
    """Return the judgement in an answer, or why it cannot be read."""
    fields: dict[str, str] = {}
    current = ""
    for line in without_thoughts(answer.replace("\r\n", "\n")).text.split("\n"):
        if match := _FIELD.fullmatch(line):
            current = match[1].lower()
            fields.setdefault(current, match[2])
        elif current == "text":
            fields["text"] += f"\n{line}"
    verdict = next((v for v in _SEVERITY if re.match(rf"\W*{v}", fields.get("verdict", ""), re.IGNORECASE)), "")
    confidence = _number(fields.get("confidence", ""), percent=True)
    if not verdict:
        return Flaw(f"the answer has no valid verdict; allowed are {', '.join(_SEVERITY)}")
    if confidence is None or not 0 <= confidence <= 1:
        return Flaw("the answer has no valid confidence; allowed are numbers from 0 to 1")
    text = clean(tame(fields.get("text", "")), TEXT)
    found = {"verdict": verdict, "predicted": _number(fields.get("predicted", "")), "confidence": confidence}
    return msgspec.convert({**found, "text": text}, Judgement)


def joined(
    critique: CritiquePosted, opinion: Judgement, model: str, cost: Cost, call: KeptCall | None = None
) -> CritiquePosted:
    """Return the critique by rules and model together: the more severe verdict, and the model's forecast.

    The model's chance that the proposal becomes champion is kept, even if the rules' verdict is more severe.

    Args:
        critique: The critique by rules.
        opinion: The model's judgement.
        model: The name of the model.
        cost: The cost of the call.
        call: Its prompt and answer, if they were kept.
    """
    verdict = max(critique.verdict, opinion.verdict, key=_SEVERITY.index)
    chance = opinion.confidence if opinion.verdict == "endorse" else 1 - opinion.confidence
    confidence = chance if verdict == "endorse" else 1 - chance
    text = f"{model}: {opinion.text or opinion.verdict}"
    return replace(
        critique,
        verdict=verdict,
        rule="model" if critique.verdict == "endorse" else critique.rule,
        text=text if critique.verdict == "endorse" else f"{critique.text}; {text}",
        predicted=opinion.predicted,
        confidence=round(min(SUREST, max(1 - SUREST, confidence)), 4),
        cost=cost,
        call=call,
    )


def _number(text: str, *, percent: bool = False) -> float | None:
    match = _NUMBER.search(text.replace(",", "")) if text else None
    if match is None:
        return None
    value = float(match[0])
    if percent and text[match.end() :].lstrip().startswith("%"):
        value /= 100
    return value if abs(value) <= MAX_NUMBER else None
