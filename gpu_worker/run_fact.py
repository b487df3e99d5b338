"""The fact that a run ended, from what a worker measured."""

import msgspec

from gpu_worker.member import Membership
from gpu_worker.run import Result
from mesh.bounds import MAX_TEXT
from mesh.events import Cost, Failed, RunFinished, RunRequested, Scored


def finished(
    member: Membership,
    request: RunRequested,
    attempt: int,
    outcome: Scored | Failed,
    result: Result | None,
    slot_s: float,
) -> RunFinished:
    """Return the fact that a run ended.

    Args:
        member: the worker.
        request: what was requested.
        attempt: the number of the attempt.
        outcome: how it ended.
        result: what was measured; None where there was no trial.
        slot_s: seconds since a slot was given the run, with fetching and scoring: what the run costs.
    """
    opened = member.board.opened
    assert opened is not None
    event = RunFinished(
        run=request.run,
        proposal=request.proposal,
        outcome=outcome,
        worker=member.boot,
        worker_class=member.machine.worker_class,
        attempt=max(1, attempt),
        evaluator=opened.evaluator,
        data=opened.data,
        environment=member.environment.mixed_with(member.machine.environment),
        tier=member.tier,
        built=member.environment.built,
        packages=member.environment.packages,
        cost=Cost(usd=member.cost_usd(round(slot_s, 3)), seconds=round(slot_s, 3)) if slot_s else None,
    )
    if result is None:
        return event
    return msgspec.structs.replace(
        event,
        curve=result.curve,
        trial_s=round(result.trial_s, 3),
        score_s=round(result.score_s, 3),
        cpu_s=round(result.cpu_s, 3),
        peak_memory_mb=round(result.peak_memory_mb, 1),
        peak_gpu_memory_mb=result.gpu.peak_mb,
        gpu_utilisation=result.gpu.utilisation,
        code=result.code,
        data=result.data,
        evaluator=result.evaluator,
        log_tail=result.log_tail,
        budget_used_s=round(result.used_s, 3),
        budget_counts=result.budget.counts,
        predict_s=round(result.predict_s, 3),
        items=result.items.fact if result.items else None,
        stages=result.stages,
        own_seeds=result.own_seeds,
        judge=result.judge,
        build_cache=result.build_cache[:MAX_TEXT],
    )
