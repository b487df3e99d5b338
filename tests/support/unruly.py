"""Random histories with many versions, critics that rule out late, withdrawn runs and repeated facts."""

from mesh.events import AnyEvent, CritiquePosted, Failed, RuledOut, RunFinished, RunKilled
from mesh.ruling_out import FIXED, reinstated
from tests.test_leaderboard_contract import History as Random
from tests.test_leaderboard_contract import logged


class Unruly(Random):
    """A random history in which proposals are ruled out after they counted, and come back."""

    def add(self, event: AnyEvent) -> None:
        """Take a fact; there are many critics, because each judges a proposal once."""
        author = self.rng.choice(("ann", "bob"))
        if isinstance(event, CritiquePosted):
            author = f"critic-{len(self.told) % 7}"
        self.told.append((author, event))
        self.board.fold(logged("a", [self.told[-1]], after=len(self.told) - 1)[0])

    def rulings(self, version: int) -> tuple[RuledOut, ...]:
        """Return what a version rules out: nothing, some of what the one before did, or others."""
        dice = self.rng
        before = [tree for tree, known in self.board.proposals.items() if known.ruled_out]
        chosen = dice.choice(([], [], before[::2], [tree for tree in self.trees if dice.random() < 0.4]))
        if self.board.champion and dice.random() < 0.2:
            chosen = [*{*chosen, self.board.champion}]
        return tuple(RuledOut(text=f"changed K{n}", proposals=(tree,)) for n, tree in enumerate(sorted(chosen)))

    def event(self) -> AnyEvent:
        """Return the next fact."""
        dice, board = self.rng, self.board
        assert board.opened is not None
        draw = dice.random()
        if draw < 0.04:
            return self.opening(board.opened.version + 1)
        if draw < 0.10:
            target = dice.choice([*board.proposals, *([board.champion] if board.champion else [])])
            return CritiquePosted(target=target, verdict="block", rule=FIXED, text=dice.choice(("", "changed K")))
        if draw < 0.14 and (again := reinstated(board)):
            return again
        if draw < 0.18 and self.asked:
            return RunKilled(run=dice.choice(self.asked).run, by="operator", text="withdrawn")
        killed = [asked for asked in self.asked if board.runs[asked.run].killed]
        if draw < 0.22 and killed:
            ended, end = dice.choice(killed), Failed(reason="killed", message="withdrawn")
            return RunFinished(
                run=ended.run,
                proposal=ended.proposal,
                outcome=end,
                worker="w",
                worker_class=self.classes[0],
                trial_s=0.1,
            )
        if draw < 0.28:
            return dice.choice(self.told)[1]
        return super().event()
