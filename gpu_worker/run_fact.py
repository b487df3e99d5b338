"""The fact that a run ended, from what a worker measured."""

import msgspec

from gpu_worker.member import Membership
from gpu_worker.run import Result
from mesh.bounds import MAX_TEXT
from mesh.events import Cost, Failed, RunFinished, RunRequested, Scored


def finished(
    member: Membership, request: RunRequested, attempt: int, outcome: Scored | Failed, result: Result | None
) -> RunFinished:
    """Return the fact that a run ended; `result` is what was measured, None where there was no trial."""
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
    )
    if result is None:
        return event
    seconds = round(result.trial_s + result.score_s, 3)
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
        cost=Cost(usd=member.cost_usd(seconds), seconds=seconds),
    )
