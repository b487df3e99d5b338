"""A realistic mix of facts, as a swarm of four explorers, two critics and four workers writes them."""

import random
from collections.abc import Iterator

from mesh import events as e
from mesh.spec import ArenaSpec, ArtifactSpec, ObjectiveSpec, ScoreSpec, TrialSpec
from mesh.testing import commit_hash, git_hash, run_of
from mesh.wire import Post

_LOG_TAIL = "".join(f"step {n} loss {5 - n / 20:.4f} tokens/s {90_000 + n}\n" for n in range(12))
_VERDICT = "its score is not better than the champion's"
_RATIONALE = "A smaller step after warm-up lets the last third settle; the best two so far agree on the width. "


def opening(name: str) -> Post:
    """Return the post that opens an arena of that name."""
    spec = ArenaSpec(
        name=name,
        objective=ObjectiveSpec(metric="loss", direction="minimize"),
        artifact=ArtifactSpec(editable=("train.py",)),
        trial=TrialSpec(command=("python", "train.py"), budget_s=60, deadline_s=90),
        score=ScoreSpec(how="command", command=("python", "score.py")),
    )
    return Post.new(
        "ann",
        e.ArenaOpened(version=1, spec=spec, base_commit=git_hash("c"), base_tree=git_hash("t"), evaluator="", data=""),
    )


def posts(name: str, count: int, *, settled: bool = False) -> Iterator[Post]:
    """Yield `count` posts, the same for the same `name` except for ids and times; no two names share a key.

    Args:
        name: where the posts are drawn from.
        count: how many.
        settled: each proposal is retired in the end, instead of a note.
    """
    made = 0
    for number in range(count):
        tree, rng = git_hash(f"{name}{number:x}"), random.Random(f"{name} {number}")
        for author, event in _proposal_and_its_runs(tree, rng, settled=settled):
            if made == count:
                return
            made += 1
            yield Post.new(author, event)


def _proposal_and_its_runs(tree: str, rng: random.Random, *, settled: bool) -> Iterator[tuple[str, e.AnyEvent]]:
    """Yield one proposal, two critiques, two runs of three facts each, and a note or a verdict: ten facts."""
    explorer = f"explorer-{rng.randrange(4)}"
    knobs = tuple(e.KnobChange(file="train.py", name=f"KNOB_{n}", old=n, new=rng.random()) for n in range(3))
    yield (
        explorer,
        e.ProposalPosted(
            tree=tree,
            commit=commit_hash(tree),
            parents=(git_hash(f"t{rng.randrange(100)}"),),
            title="mutate: LEARNING_RATE 0.003 → 0.0021, WIDTH 64 → 80",
            rationale=_RATIONALE * 2,
            origin=e.Origin(how="sampler", name="mutate"),
            predicted_gain=rng.random() / 100,
            confidence=0.5,
            knobs=knobs,
        ),
    )
    for critic in ("critic-1", "critic-2"):
        yield critic, e.CritiquePosted(target=tree, verdict="endorse", rule="sound", text="parses and is new")
    for seed in (1, 2):
        yield from _run(tree, seed, rng)
    if settled:
        yield "curator", e.ProposalRetired(proposal=tree, round=0, why="not_better", seeds=(1, 2), text=_VERDICT)
    else:
        yield explorer, e.NotePosted(channel="general", text=f"{tree}: {_RATIONALE}")


def _run(tree: str, seed: int, rng: random.Random) -> Iterator[tuple[str, e.AnyEvent]]:
    run, worker = run_of(tree, seed=seed), f"worker-{rng.randrange(4)}"
    curve = tuple(e.CurvePoint(step * 10, 5 - step / 20 + rng.random() / 10, step * 0.31) for step in range(40))
    yield (
        "curator",
        e.RunRequested(
            run=run, lane="explore", proposal=tree, commit=commit_hash(tree), seed=seed, budget_s=60, deadline_s=90
        ),
    )
    yield worker, e.RunStarted(run=run, attempt=1, worker=worker, device="cpu")
    yield (
        worker,
        e.RunFinished(
            run=run,
            proposal=tree,
            outcome=e.Scored(value=curve[-1].value, metrics={"val_bpb": curve[-1].value, "tokens": 1e6}),
            worker=worker,
            worker_class="cpu-x86_64",
            curve=curve,
            trial_s=60.2,
            score_s=1.1,
            cpu_s=58.0,
            peak_memory_mb=512.0,
            log_tail=_LOG_TAIL,
            cost=e.Cost(seconds=61.3),
        ),
    )
