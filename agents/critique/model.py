"""A model's opinion of proposals, before compute: what it says becomes part of the critic's one word on each.

The model is asked about several at once, and never for longer than `ANSWER_S`; within budgets that are kept from the
log (`agents.llm.budget`). Whatever goes wrong, an answer that cannot be read among it, is a fact with its cost, and the
word by rules is said alone. A model is never certain: its blocks are opinions, which a bad record overrules.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Literal

import anyio
import msgspec
from msgspec.structs import replace

from agents.critique.calibration import ANSWER_S
from agents.llm import client
from agents.llm.budget import Budget, number_option, pauses
from agents.llm.client import Message, prompt
from agents.llm.digest import Files, brief, tame, tokens_of
from agents.llm.patch import Flaw
from mesh.board import Board
from mesh.errors import BadInput
from mesh.events import AnyEvent, Cost, CritiquePosted, NotePosted

AT_ONCE = 4
"""Proposals that a model is asked about at a time; of more that wait, the others are judged by rules alone."""

_PROMPT_TOKENS, _ANSWER_TOKENS = 4_000, 1_000
"""Tokens of a question, counted from above, and of its answer at most."""

SUREST = 0.99
"""Confidence that a model's word has at most: only rules are certain."""

TEXT = 600
"""Characters of a model's text."""

_FIELD = re.compile(r"[#*\s>-]*(verdict|predicted|confidence|text)\**\s*[:=]\**\s*(.*)", re.IGNORECASE)
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", re.IGNORECASE)
_SEVERITY = ("endorse", "warn", "block")


class Judgement(msgspec.Struct, frozen=True):
    """What a model says of a proposal; `predicted` is None where it expects no score."""

    verdict: Literal["endorse", "warn", "block"]
    predicted: float | None
    confidence: float
    text: str


class ModelCritic:
    """Asks a model about proposals that rules let through.

    Options are those of `Budget`, `prompt_tokens`, and `timeout_s`, at most `ANSWER_S`.
    """

    def __init__(self, name: str, options: Mapping[str, str]) -> None:
        self._name = name
        self._budget = Budget(name, options, answer_tokens=_ANSWER_TOKENS)
        self._prompt_tokens = int(number_option(options, "prompt_tokens", _PROMPT_TOKENS) or 0)
        self._timeout_s = number_option(options, "timeout_s", ANSWER_S) or 0.0
        if self._timeout_s > ANSWER_S:
            raise BadInput(f"option timeout_s={self._timeout_s:g} is above {ANSWER_S:g} s: no proposal waits longer")
        least = tokens_of(prompt("critic")) * 2
        if self._prompt_tokens < least:
            raise BadInput(
                f"option prompt_tokens={self._prompt_tokens} is too few for a question: give {least} or more"
            )
        self._silent = False

    def worth_asking(self, board: Board, words: Sequence[CritiquePosted]) -> list[CritiquePosted]:
        """Return the words on proposals that wait for compute and that the model may be asked about now."""
        if self._silent or pauses(board, self._name, board.time):
            return []
        passed = [word for word in words if word.verdict != "block" and word.rule != "baseline"]
        return [word for word in passed if not board.proposals[word.target].runs][:AT_ONCE]

    async def of(self, board: Board, words: Sequence[CritiquePosted], code: Mapping[str, Files]) -> list[AnyEvent]:
        """Return each word, with what the model says where it answers in time, and what it cost where it does not."""
        told: list[AnyEvent] = []
        reserved: list[Cost] = []
        found: dict[str, list[AnyEvent]] = {}
        async with anyio.create_task_group() as tasks:
            for word in words:
                messages = self._question(board, word.target, code)
                if stop := self._budget.exceeds(board, messages, reserved):
                    told += self._silence(stop)
                    break
                reserved.append(self._budget.most(messages))
                tasks.start_soon(self._ask, word, messages, found)
        for word in words:
            told += found.get(word.target, [word])
        return told

    async def _ask(self, word: CritiquePosted, messages: Sequence[Message], found: dict[str, list[AnyEvent]]) -> None:
        try:
            answer = await client.ask_model(
                self._budget.model,
                messages,
                max_tokens=self._budget.answer_tokens,
                timeout_s=self._timeout_s,
                within_s=self._timeout_s,
            )
        except BadInput as error:
            found[word.target] = [*self._silence(f"{self._name} judges by rules alone: {error}"), word]
            return
        opinion = Flaw(answer.trouble) if answer.trouble else read_judgement(answer.text)
        if isinstance(opinion, Flaw):
            vain = self._budget.failed_call("critique", answer.cost, not answer.trouble, opinion.text)
            found[word.target] = [vain, word]
        else:
            found[word.target] = [joined(word, opinion, self._budget.model.name, answer.cost)]

    def _silence(self, why: str) -> list[AnyEvent]:
        """Ask no more in this life, and say why once."""
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
    """Return what an answer says, or why it cannot be read."""
    fields: dict[str, str] = {}
    current = ""
    for line in answer.replace("\r\n", "\n").split("\n"):
        if match := _FIELD.fullmatch(line):
            current = match[1].lower()
            fields.setdefault(current, match[2])
        elif current == "text":
            fields["text"] += f"\n{line}"
    verdict = next((v for v in _SEVERITY if re.match(rf"\W*{v}", fields.get("verdict", ""), re.IGNORECASE)), "")
    confidence = _number(fields.get("confidence", ""), percent=True)
    if not verdict:
        return Flaw(f"the answer has no verdict of {', '.join(_SEVERITY)}")
    if confidence is None or not 0 <= confidence <= 1:
        return Flaw("the answer has no confidence from 0 to 1")
    text = client.clean(tame(fields.get("text", "")), TEXT)
    found = {"verdict": verdict, "predicted": _number(fields.get("predicted", "")), "confidence": confidence}
    return msgspec.convert({**found, "text": text}, Judgement)


def joined(word: CritiquePosted, opinion: Judgement, model: str, cost: Cost) -> CritiquePosted:
    """Return the one word that rules and model make together: the graver verdict, the model's forecast.

    The chance that the proposal becomes champion stays the model's, whichever verdict it goes with.
    """
    verdict = max(word.verdict, opinion.verdict, key=_SEVERITY.index)
    chance = opinion.confidence if opinion.verdict == "endorse" else 1 - opinion.confidence
    confidence = chance if verdict == "endorse" else 1 - chance
    said = f"{model}: {opinion.text or opinion.verdict}"
    return replace(
        word,
        verdict=verdict,
        rule="model" if word.verdict == "endorse" else word.rule,
        text=said if word.verdict == "endorse" else f"{word.text}; {said}",
        predicted=opinion.predicted,
        confidence=round(min(SUREST, max(1 - SUREST, confidence)), 4),
        cost=cost,
    )


def _number(text: str, *, percent: bool = False) -> float | None:
    match = _NUMBER.search(text.replace(",", "")) if text else None
    if match is None:
        return None
    value = float(match[0])
    if percent and text[match.end() :].lstrip().startswith("%"):
        value /= 100
    return value if math.isfinite(value) else None
