"""What a role that asks a model is given: which model, how long an answer may be, and what may be spent in all.

Budgets hold per name and over restarts, since what was spent is read from the log. They are kept before a call: one
that might exceed them is not made. After calls without a usable answer there is a pause, which the log tells too.
"""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence

from agents.llm import client
from agents.llm.client import Message, Model
from mesh.board import Board
from mesh.errors import BadInput
from mesh.events import Cost, ModelAsked

FIRST_PAUSE_S, _MAX_PAUSE_S = 15.0, 900.0
"""Pause after a call that led to nothing; twice as long for each further one in a row."""

_TEXT = 400
"""Characters of a fact about a call that led to nothing."""


class Budget:
    """The model of one agent and its budgets.

    Options: `model` (provider/name), `api_base`, `budget_usd`, `budget_tokens`, `answer_tokens`.

    Raises:
        BadInput: an option makes no sense, or a budget cannot be kept.
    """

    def __init__(self, name: str, options: Mapping[str, str], *, answer_tokens: int) -> None:
        self._name = name
        self.model = Model(options["model"], options.get("api_base", ""))
        self.answer_tokens = int(number_option(options, "answer_tokens", answer_tokens) or 0)
        self._usd = number_option(options, "budget_usd", None)
        self._tokens = number_option(options, "budget_tokens", None)
        client.check_model(self.model)
        self._price = client.price_of(self.model)
        if self._usd is not None and self._price is None:
            raise BadInput(
                f"the price of {self.model.name} is unknown, so --budget-usd {self._usd:g} cannot be kept: "
                "give --budget-tokens instead"
            )

    def exceeds(self, board: Board, messages: Sequence[Message], costs: Iterable[Cost] = ()) -> str:
        """Return why one more call might exceed a budget, "" where it will not; `costs` are not in the log yet."""
        costs, most = list(costs), self.most(messages)
        if self._usd is not None and self._price:
            spent = board.spent.get(self._name, 0.0) + sum(cost.usd or 0.0 for cost in costs)
            price = most.usd or 0.0
            if spent + price > self._usd:
                of = f"${spent:.4f} of --budget-usd {self._usd:g}"
                return f"{self._name} has spent {of}, and one more call may cost ${price:.4f}: it asks no more"
        if self._tokens is not None:
            used = board.tokens.get(self._name, 0) + sum(map(_count, costs))
            if used + _count(most) > self._tokens:
                of = f"{used:,} of --budget-tokens {self._tokens:,.0f}"
                return f"{self._name} has used {of}, and one more call may take {_count(most):,}: it asks no more"
        return ""

    def most(self, messages: Sequence[Message]) -> Cost:
        """Return what a call may cost."""
        size = client.size_of(messages)
        usd = self._price.of(size, self.answer_tokens) if self._price else None
        return Cost(usd=usd, tokens_in=size, tokens_out=self.answer_tokens)

    def failed_call(self, purpose: str, cost: Cost, ok: bool, text: str) -> ModelAsked:
        """Return the fact about a call that led to nothing."""
        return ModelAsked(model=self.model.name, purpose=purpose, ok=ok, cost=cost, text=client.clean(text, _TEXT))


def pauses(board: Board, name: str, now: dt.datetime) -> bool:
    """Tell whether an agent should wait, because its last calls led to nothing."""
    failed = board.failed_calls.get(name, [])
    pause_s = min(_MAX_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(16, len(failed) - 1))
    return bool(failed) and (now - failed[-1]).total_seconds() < pause_s


def number_option(options: Mapping[str, str], name: str, default: float | None) -> float | None:
    """Return an option that is a number above 0.

    Raises:
        BadInput: it is something else.
    """
    text = options.get(name)
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise BadInput(f"option {name}={text} is not a valid number; use one above 0")
    return value


def _count(cost: Cost) -> int:
    return (cost.tokens_in or 0) + (cost.tokens_out or 0)
