"""Budgets of an agent that asks a model: which model, how long an answer may be, and how much it may spend.

Budgets count per agent name and over restarts, because the spent amounts are read from the log. A call that might
exceed a budget is not made. After failed calls there is a pause (`mesh.model_pauses`).
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from agents.llm import client
from agents.llm.client import Message, Model, Price
from agents.llm.hidden_keys import clean
from agents.llm.model_options import model_parameters, number_option, price_option
from agents.llm.unposted_calls import UnpostedCalls
from mesh.board import Board
from mesh.errors import BadInput
from mesh.events import Cost, KeptCall, ModelAsked
from mesh.failed_calls import LOST
from mesh.log_clock import LogClock
from mesh.money import limit_usd, stated_usd, why_no_call

_SAY_PRICE = "--option price_per_mtok=IN,OUT, the dollars for a million tokens (0,0 if it costs nothing)"

_TEXT = 400
"""Most characters of the text of a failed call."""


class Budget:
    """The model of one agent and its budgets.

    Options: `model` (provider/name), `api_base`, `budget_usd`, `budget_tokens`, `answer_tokens`, `reasoning_effort`,
    `temperature`, `top_p`, `structured` (auto or off), `price_per_mtok` (dollars for a million tokens in and out).

    Raises:
        BadInput: An option is not valid, or a budget cannot be kept.
    """

    def __init__(
        self, name: str, options: Mapping[str, str], *, answer_tokens: int, unposted: Path | None = None
    ) -> None:
        self._name = name
        self.unposted = UnpostedCalls(name, unposted)
        self._clock = LogClock()
        own = price_option(options)
        price = Price(own[0] / 1e6, own[1] / 1e6) if own else None
        self.model = Model(options["model"], options.get("api_base", ""), model_parameters(options), price)
        self.answer_tokens = int(number_option(options, "answer_tokens", answer_tokens) or 0)
        self._usd = number_option(options, "budget_usd", None)
        self._tokens = number_option(options, "budget_tokens", None)
        client.check_model(self.model)
        self._price = client.price_of(self.model)
        if self._usd is not None and self._price is None:
            raise BadInput(
                f"the price of {self.model.name} is unknown, so --budget-usd {self._usd:g} cannot be kept; "
                f"use --budget-tokens instead, or say the price: {_SAY_PRICE}"
            )

    def exceeds(self, board: Board, messages: Sequence[Message], costs: Iterable[Cost] = ()) -> str:
        """Return why one more call might exceed a budget, the agent's own or that of the arena; "" if it cannot.

        Args:
            board: The board of the arena, with the costs in the log.
            messages: The messages of the call.
            costs: Costs that are not in the log yet.
        """
        if unpriced := self.why_unpriced(board):
            return f"{unpriced}; it stops asking"
        costs, most = list(costs), self.most(messages)
        if self._usd is not None and self._price:
            spent = stated_usd(board, self._name) + sum(cost.usd or 0.0 for cost in costs)
            price = most.usd or 0.0
            if spent + price > self._usd:
                of = f"${spent:.4f} of --budget-usd {self._usd:g}"
                return f"{self._name} has spent {of}, and one more call may cost ${price:.4f}; it stops asking"
        if self._tokens is not None:
            used = board.tokens.get(self._name, 0) + sum(map(_count, costs))
            if used + _count(most) > self._tokens:
                of = f"{used:,} of --budget-tokens {self._tokens:,.0f}"
                return f"{self._name} has used {of}, and one more call may take {_count(most):,}; it stops asking"
        usd = (most.usd or 0.0) + sum(cost.usd or 0.0 for cost in costs)
        return why_no_call(board, usd, self._clock.now(board), name=self._name)

    def why_unpriced(self, board: Board) -> str:
        """Return why the agent cannot be held to the budget of the arena: its model has no price; "" if it can."""
        if (limit := limit_usd(board)) is None or self._price is not None:
            return ""
        return (
            f"{self._name} cannot be held to the budget of arena {board.arena}, ${limit:,.2f}, because the price of "
            f"{self.model.name} is unknown: give {_SAY_PRICE}"
        )

    def look(self, board: Board) -> None:
        """Look at the log's time; call it with each decision."""
        self._clock.now(board)

    def reserve_usd(self, prompt_tokens: int, calls: int) -> float | None:
        """Return the most that so many calls may cost; None for a model without a price.

        Args:
            prompt_tokens: The longest question.
            calls: How many calls a decision makes, at the same time or one after the other.
        """
        return self._price.of(prompt_tokens, self.answer_tokens) * calls if self._price else None

    def most(self, messages: Sequence[Message]) -> Cost:
        """Return the most that a call may cost."""
        size = client.size_of(messages)
        usd = self._price.of(size, self.answer_tokens) if self._price else None
        return Cost(usd=usd, tokens_in=size, tokens_out=self.answer_tokens)

    def failed_call(self, purpose: str, cost: Cost, ok: bool, text: str, call: KeptCall | None = None) -> ModelAsked:
        """Return the fact about a failed call.

        Args:
            purpose: What the call was for, such as a move of the researcher.
            cost: What it cost.
            ok: Whether the provider answered; what it answered could not be used then.
            text: Why the call is of no use, one sentence.
            call: Its prompt and answer, if they were kept.
        """
        text = clean(text, _TEXT)
        return ModelAsked(model=self.model.name, purpose=purpose, ok=ok, cost=cost, text=text, call=call)

    def lost_calls(self, board: Board) -> list[ModelAsked]:
        """Return the fact about calls of an earlier life, whose cost no fact has; none if there are none.

        Call it before other calls, where all facts of earlier calls are on the board.
        """
        if not (lost := self.unposted.take(board)):
            return []
        count, cost = lost
        text = f"{count} call{'s' if count > 1 else ''} ended without a fact: their process was stopped, or died"
        return [self.failed_call(LOST, cost, False, text)]


def _count(cost: Cost) -> int:
    return (cost.tokens_in or 0) + (cost.tokens_out or 0)
