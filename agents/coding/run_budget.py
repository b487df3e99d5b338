"""What a coder may spend: calls, dollars and tokens, over all its restarts.

Dollars and tokens are read from the log, as those of other roles. Calls are counted in a file, because a run that was
killed is in no fact. What the next run costs is unknown, so it is taken to cost as much as the dearest one so far; a
coding agent that can keep a limit in dollars itself is told what is left. Where the arena has a budget, somebody has to
say what a run may cost at most; a run whose dollars the coding agent does not print counts as so much (`unsaid_usd`).
"""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

from agents.llm.model_options import number_option
from mesh.atomic_write import atomic_write
from mesh.board import Board
from mesh.errors import BadInput
from mesh.events import Cost
from mesh.log_clock import LogClock
from mesh.money import limit_usd, stated_usd, why_no_call


class RunBudget:
    """The budget of one coder.

    Args:
        name: the coder.
        options: `budget_usd`, `budget_tokens` and `budget_calls`, at least one of them, and `run_usd`.
        agent: how the coding agent is called, for sentences.
        prints_usd: whether it prints dollars.
        prints_tokens: whether it prints tokens.
        file: where calls are counted; None counts them in this process alone.

    Raises:
        BadInput: there is no budget, or it cannot be kept.
    """

    def __init__(
        self,
        name: str,
        options: Mapping[str, str],
        *,
        agent: str,
        prints_usd: bool,
        prints_tokens: bool,
        file: Path | None,
    ) -> None:
        self._name, self._agent, self._file = name, agent, file
        self._usd = number_option(options, "budget_usd", None)
        self._tokens = number_option(options, "budget_tokens", None)
        self._calls = number_option(options, "budget_calls", None)
        self._run_usd = number_option(options, "run_usd", None)
        self.unsaid_usd = None if prints_usd else self._run_usd
        self._dearest, self._most, self._unknown = 0.0, 0, ""
        self._clock = LogClock()
        self._made = 0
        with suppress(OSError, ValueError):
            self._made = int(file.read_text()) if file else 0
        if self._usd is None and self._tokens is None and self._calls is None:
            raise BadInput(
                "a coder needs a limit of what it may spend; give --budget-usd, --budget-tokens or --budget-calls"
            )
        for flag, limit, prints in (
            ("usd", self._usd, prints_usd),
            ("tokens", self._tokens, prints_tokens),
        ):
            if limit is not None and not prints:
                what = "dollars" if flag == "usd" else "tokens"
                raise BadInput(
                    f"{agent} prints no {what}, so --budget-{flag} {limit:g} cannot be kept; use --budget-calls instead"
                )

    def exceeds(self, board: Board) -> str:
        """Return why one more run might exceed the budget, "" if it cannot as far as is known."""
        spent, used = stated_usd(board, self._name), board.tokens.get(self._name, 0)
        if self._calls is not None and self._made >= self._calls:
            return f"{self._name} has run {self._agent} {self._made} times, as --budget-calls allows; it stops"
        if self._unknown:
            return f"{self._name}: {self._unknown}; it stops"
        if self._usd is not None and (spent >= self._usd or spent + self._dearest > self._usd):
            of = f"${spent:.4f} of --budget-usd {self._usd:g}"
            return f"{self._name} has spent {of}, and one more run may cost ${self._dearest:.4f}; it stops"
        if self._tokens is not None and (used >= self._tokens or used + self._most > self._tokens):
            of = f"{used:,} of --budget-tokens {self._tokens:,.0f}"
            return f"{self._name} has used {of}, and one more run may take {self._most:,}; it stops"
        if (limit := limit_usd(board)) is not None and self.reserves_usd is None:
            return (
                f"{self._name}: nobody has said what a run of {self._agent} may cost, and arena {board.arena} has a "
                f"budget of ${limit:,.2f}: give --option run_usd=USD; it stops"
            )
        run_usd = max(self._dearest, self.left_usd(board) or 0.0)
        return why_no_call(board, run_usd, self._clock.now(board), name=self._name)

    @property
    def reserves_usd(self) -> float | None:
        """The most that a run may cost, by the options; None where they do not say it."""
        known = [usd for usd in (self._run_usd, self._usd) if usd is not None]
        return min(known, default=None)

    def look(self, board: Board) -> None:
        """Look at the log's time; call it with each decision."""
        self._clock.now(board)

    def left_usd(self, board: Board) -> float | None:
        """Return the most that the next run may cost in dollars, None without such a limit."""
        of_all = None if self._usd is None else self._usd - stated_usd(board, self._name)
        known = [usd for usd in (of_all, self._run_usd) if usd is not None]
        return min(known, default=None)

    def paid(self, cost: Cost) -> Cost:
        """Return what a run has cost: where its dollars are not printed, as many as somebody said that it may cost."""
        return msgspec.structs.replace(cost, usd=self._run_usd) if cost.usd is None else cost

    def begin(self) -> None:
        """Count a run, before it starts."""
        self._made += 1
        if self._file is not None:
            with suppress(OSError):  # a full disk keeps nobody from working
                self._file.parent.mkdir(parents=True, exist_ok=True)
                with atomic_write(self._file, durable=True) as path:
                    path.write_text(str(self._made))

    def ended(self, cost: Cost, *, whole: bool) -> None:
        """Note what a run has cost; one that is not `whole` was ended before it could say so."""
        self._dearest = max(self._dearest, cost.usd or 0.0)
        self._most = max(self._most, (cost.tokens_in or 0) + (cost.tokens_out or 0))
        if whole and self._usd is not None and cost.usd is None:
            self._unknown = f"{self._agent} printed no dollars, so --budget-usd {self._usd:g} cannot be kept"
        if whole and self._tokens is not None and cost.tokens_in is None and cost.tokens_out is None:
            self._unknown = f"{self._agent} printed no tokens, so --budget-tokens {self._tokens:g} cannot be kept"
