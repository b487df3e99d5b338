"""A log of proposals that descend from each other, improve, and are promoted or retired: for measuring the page."""

import random
from collections.abc import Iterator

from benchmarks.parts.mix import opening
from mesh import events as e
from mesh.testing import commit_hash, git_hash
from mesh.wire import Post

_IDEAS = (
    "mutate: LEARNING_RATE 0.003 → 0.0021",
    "cross: WIDTH 64 → 80, DEPTH 4 → 6",
    "A longer warm-up, then a cosine to a tenth",
    "Weight decay only where matrices are",
    "tpe: DROPOUT 0.1 → 0.05, BATCH 32 → 48",
)
_ENDORSED = "parses, is new, and turns one knob at a time"
_BASE = git_hash("t")
"""The tree of the baseline that `opening` opens the arena with."""


def posts(name: str, proposals: int) -> Iterator[Post]:
    """Yield the posts of an arena with this many proposals, the same each time except for ids and times."""
    yield opening(name)
    for author, event in _events(proposals):
        yield Post.new(author, event)


def _events(proposals: int) -> Iterator[tuple[str, e.AnyEvent]]:
    rng = random.Random(proposals)
    for number in range(4):
        yield f"explorer-{number}", e.AgentJoined(boot=f"a{number}", role="explorer")
        device = "NVIDIA H100" if number else "cpu"
        cls = "cuda-h100" if number else "cpu-x86_64"
        yield f"worker-{number}", e.WorkerJoined(boot=f"w{number}", worker_class=cls, device=device, slots=2, tier="A")
    true = {_BASE: 1.0}
    champion, rounds = "", 0
    for number in range(proposals):
        tree = f"{number:x}".rjust(8, "0") + f"{rng.getrandbits(128):032x}" if number else _BASE
        parents = _parents(rng, list(true), champion) if number else ()
        if number:
            true[tree] = min(true[p] for p in parents) * (1 + rng.gauss(0.01, 0.02))
        yield f"explorer-{rng.randrange(4)}", _proposal(rng, tree, parents)
        yield "critic", e.CritiquePosted(target=tree, verdict="endorse", rule="sound", text=_ENDORSED)
        yield from _run(rng, tree, "explore", true[tree], fails=bool(number) and rng.random() < 0.08)
        if not champion or true[tree] < true[champion] * 0.985:
            for _ in range(3):
                yield from _run(rng, tree, "confirm", true[tree], fails=False)
            rounds += 1
            yield "curator", e.ProposalPromoted(proposal=tree, round=rounds, met=champion, mean=true[tree])
            champion = tree
        elif rng.random() < 0.6:
            rounds += 1
            yield "curator", e.ProposalRetired(proposal=tree, round=rounds, why="not_better", met=champion)
        if number % 25 == 0:
            yield "ann", e.NotePosted(channel="general", text=f"{number} ideas so far; is the warm-up worth its time?")


def _parents(rng: random.Random, trees: list[str], champion: str) -> tuple[str, ...]:
    near = [champion, rng.choice(trees[-40:]), rng.choice(trees)]
    chosen = rng.choices(near, weights=(5, 3, 2), k=2 if rng.random() < 0.15 else 1)
    return tuple(dict.fromkeys(chosen))


def _proposal(rng: random.Random, tree: str, parents: tuple[str, ...]) -> e.ProposalPosted:
    return e.ProposalPosted(
        tree=tree,
        commit=commit_hash(tree),
        parents=parents,
        title=rng.choice(_IDEAS) if parents else "baseline",
        rationale="A smaller step lets the last third settle; the best two so far agree on the width.",
        origin=e.Origin(how="sampler" if parents else "baseline", name="mutate" if parents else ""),
        knobs=(e.KnobChange(file="train.py", name="LEARNING_RATE", old=0.003, new=rng.random() / 100),),
        predicted_gain=rng.random() / 100,
    )


def _run(rng: random.Random, tree: str, lane: e.Lane, mean: float, *, fails: bool) -> Iterator[tuple[str, e.AnyEvent]]:
    seed, number = rng.getrandbits(31), rng.randrange(4)
    run = f"{tree[:16]}-{lane}-{seed}"
    request = e.RunRequested(
        run=run, lane=lane, proposal=tree, commit=commit_hash(tree), seed=seed, budget_s=60, deadline_s=90
    )
    yield "curator", request
    yield f"worker-{number}", e.RunStarted(run=run, attempt=1, worker=f"w{number}")
    value = mean + rng.gauss(0, 0.004)
    curve = tuple(e.CurvePoint(step * 10, value * (1 + 2 / (step + 1)), step * 3.0) for step in range(1, 21))
    outcome: e.Scored | e.Failed = e.Scored(value=value)
    if fails:
        outcome = e.Failed(reason="crash", message="RuntimeError: shapes (64, 80) and (64, 64) do not fit")
    yield (
        f"worker-{number}",
        e.RunFinished(
            run=run,
            proposal=tree,
            outcome=outcome,
            worker=f"w{number}",
            worker_class="cpu-x86_64",
            curve=curve,
            trial_s=60.2,
            score_s=1.1,
            peak_memory_mb=512.0,
            log_tail="Traceback …" if fails else "",
        ),
    )
