"""Coding agents of the user's in `mesh up --coder`: each runs as the role `coder`, in a child of its own."""

from collections.abc import Mapping, Sequence

import msgspec

from agents.coding.known import CODER_OPTIONS
from mesh.errors import BadInput
from mesh.safe_path import PYTHON
from mesh_cli.live import own_roles


class Coders(msgspec.Struct, frozen=True):
    """The commands of the coding agents, and what each of them may spend; None is no limit of that kind."""

    commands: tuple[str, ...] = ()
    budget_usd: float | None = None
    budget_tokens: int | None = None
    budget_calls: int | None = None

    def words(self, command: str, options: Sequence[str], sandbox: str) -> list[str]:
        """Return the options of the child that runs a coding agent."""
        return ["--command", command, *own_roles.flags([*options, f"sandbox={sandbox}"]), *self._budgets()]

    def flags(self) -> list[str]:
        """Return them as options of `mesh up`."""
        named = [word for command in self.commands for word in ("--coder", command)]
        return [*named, *self._budgets()] if named else []

    def _budgets(self) -> list[str]:
        budgets = {"usd": self.budget_usd, "tokens": self.budget_tokens, "calls": self.budget_calls}
        return [word for name, most in budgets.items() if most for word in (f"--budget-{name}", str(most))]

    async def check(self, options: Sequence[str], sandbox: str) -> None:
        """Refuse coding agents that cannot run here.

        Raises:
            BadInput: one is not installed, has no budget, or no sandbox holds it.
        """
        for command in self.commands:
            await own_roles.check(["coder"], words=self.words(command, options, sandbox))

    def children(
        self, options: Sequence[str], sandbox: str, here: Sequence[str], taken: Mapping[str, object]
    ) -> dict[str, list[str]]:
        """Return the commands of the children by their names.

        Args:
            options: the options of coders, as KEY=VALUE.
            sandbox: which sandbox is wanted.
            here: what every agent is given, such as `--arena`.
            taken: the names of the other children.
        """
        found: dict[str, list[str]] = {}
        for command in self.commands:
            numbered = (f"coder-{number}" if number > 1 else "coder" for number in range(1, 1000))
            name = next(each for each in numbered if each not in taken and each not in found)
            words = self.words(command, options, sandbox)
            found[name] = [*PYTHON, "mesh.agent", "coder", "--name", name, *words, *here]
        return found


NO_CODERS = Coders()


def coders_of(
    commands: Sequence[str], budget_usd: float | None, budget_tokens: int | None, budget_calls: int | None
) -> Coders:
    """Return the coding agents that options stand for.

    Raises:
        BadInput: runs are limited, and there is no coding agent.
    """
    if budget_calls is not None and not commands:
        raise BadInput("--budget-calls limits a coding agent; add --coder, such as --coder claude")
    return Coders(tuple(commands), budget_usd, budget_tokens, budget_calls)


def split_options(options: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the options of coders, and those of others."""
    ours = [each for each in options if each.partition("=")[0] in CODER_OPTIONS]
    return ours, [each for each in options if each not in ours]
