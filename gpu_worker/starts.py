"""The starts of runs that a slot posts: a finish counts only from a worker that began the run (`mesh.hand_outs`)."""

from gpu_worker.member import Membership
from mesh.bounds import MAX_ATTEMPT
from mesh.events import Failed, RunRequested, RunStarted, Scored
from mesh.hand_outs import are_strict
from mesh.outcomes import is_early_stopped
from mesh.wire import Post

_TRIES = 3


class Starts:
    """Posts the starts of one slot, and remembers where in the log they stand."""

    def __init__(self, member: Membership, device: str) -> None:
        self._member, self._device = member, device
        self._posted: dict[str, int] = {}

    async def post(self, post: Post, request: RunRequested, attempt: int) -> None:
        """Post that an attempt of a run begins."""
        started = RunStarted(run=request.run, attempt=attempt, worker=self._member.boot, device=self._device)
        self._posted[request.run] = await self._member.post(started, cause=post.id)

    async def may_end(self, post: Post, request: RunRequested, outcome: Scored | Failed) -> bool:
        """Tell whether this life has begun a run in the log, which its end needs; where it has not, begin it.

        Another worker may have posted the same attempt first, and a run that is lost ends without a trial.
        """
        member = self._member
        is_stopped = member.board.runs[request.run].killed and is_early_stopped(outcome)
        if not are_strict(member.board.opened) or is_stopped:
            return True
        for _ in range(_TRIES):
            await member.follower.reached(self._posted.pop(request.run, 0))
            run = member.board.runs[request.run]
            if run.finished or member.boot in run.begun:
                return True
            await self.post(post, request, min(run.attempts + 1, MAX_ATTEMPT))
        await member.follower.reached(self._posted.pop(request.run, 0))
        return member.boot in member.board.runs[request.run].begun
