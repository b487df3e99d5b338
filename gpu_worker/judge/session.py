"""One run's part of the judge's proxy: its token, its door, its limits, and what came of its calls."""

import secrets
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress

from gpu_worker.judge.answer_cache import AnswerCache, KeptAnswer
from gpu_worker.judge.ledger import Exhausted, Ledger
from gpu_worker.judge.question import Question
from gpu_worker.judge.upstream import Upstream
from gpu_worker.judge.usage import Usage
from mesh.events import JudgeUse
from mesh.spec import JudgeSpec

PORT = 11_411
"""Where the proxy listens on a loopback that only the score program has."""
MAX_CONNECTIONS = 64


class Session:
    """What a run may ask; every method may be called from any thread.

    Args:
        run: the run.
        spec: the arena's `[judge]`.
        upstream: the provider.
        ledger: where calls are written down.
        cache: the answers of the arena.
        door: the unix socket that takes its door, where the run has a loopback of its own.
        port: where the proxy listens on the machine's loopback; 0 where the run has a loopback of its own.
    """

    def __init__(
        self,
        run: str,
        spec: JudgeSpec,
        upstream: Upstream,
        ledger: Ledger,
        cache: AnswerCache,
        *,
        door: str,
        port: int = 0,
    ) -> None:
        self.run, self.spec, self.upstream, self.door = run, spec, upstream, door
        self.token = f"mesh-{secrets.token_urlsafe(24)}"
        self._id = secrets.token_hex(8)
        self.port = port or PORT
        self.listener: socket.socket | None = None
        self.connections = threading.BoundedSemaphore(MAX_CONNECTIONS)
        self.is_closed = False
        self._ledger, self._cache = ledger, cache
        self._lock = threading.Lock()
        self._cached, self._trouble = 0, ""
        self._unanswered: dict[str, str] = {}
        self._notes: list[str] = []

    @property
    def variables(self) -> dict[str, str]:
        """The variables by which the usual clients find the proxy; the token stands where they look for a key."""
        root = f"http://127.0.0.1:{self.port}"
        found = {"MESH_JUDGE_URL": f"{root}/v1", "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
        names = dict.fromkeys(["OPENAI", self.spec.key.removesuffix("_API_KEY").removesuffix("_KEY") or "OPENAI"])
        for name in names:
            found |= {f"{name}_BASE_URL": f"{root}/v1", f"{name}_API_BASE": f"{root}/v1", f"{name}_API_KEY": self.token}
        found |= {"ANTHROPIC_BASE_URL": root, "ANTHROPIC_API_BASE": root, "ANTHROPIC_API_KEY": self.token}
        return found | ({self.spec.key: self.token} if self.spec.key else {})

    def may_keep(self, question: Question) -> bool:
        """Tell whether an answer to it may be used again."""
        how = self.spec.cache
        return how == "all" or (how == "deterministic" and question.is_deterministic)

    def kept(self, question: Question) -> KeptAnswer | None:
        """Return the answer to an equal question of before, and count it; None if there is none to use."""
        found = self._cache.get(question.digest) if self.may_keep(question) else None
        if found:
            with self._lock:
                self._cached += 1
                self._unanswered.pop(question.digest, None)
        return found

    def begin(self, question: Question, gone: Callable[[], bool]) -> int:
        """Set aside what a call may cost; return its number.

        Raises:
            Exhausted: a limit does not allow it; the run will have no score.
        """
        most = Usage(*question.most_tokens())
        spec = self.spec
        try:
            return self._ledger.set_aside(
                self.run,
                self._id,
                most,
                self._usd(question, most),
                usd_per_run=spec.usd_per_run,
                usd_in_all=spec.usd,
                calls_per_run=spec.calls_per_run,
                gone=gone,
            )
        except Exhausted as error:
            self.refuse(str(error))
            raise

    def end(self, number: int, question: Question, usage: Usage | None, answer: tuple[str, bytes] | None) -> None:
        """Write down what an answered call has cost, and keep the answer (its type and bytes) if it may be used again.

        Without a usage the call has cost what was set aside for it.
        """
        used = usage or Usage(*question.most_tokens())
        usd = self._usd(question, used)
        self._ledger.settle(number, used, usd)
        with self._lock:
            self._unanswered.pop(question.digest, None)
        if answer and self.may_keep(question):
            self._cache.keep(question.digest, KeptAnswer(*answer, used, usd))

    def fail(self, number: int, question: Question, sentence: str, *, is_charged: bool = False) -> None:
        """Note that a call has no answer; it costs nothing unless the provider may have charged for it."""
        if not is_charged:
            self._ledger.drop(number)
        with self._lock:
            self._unanswered[question.digest] = sentence

    def forget(self, number: int, question: Question) -> None:
        """Take back a call whose request the provider refused as wrong: it costs nothing, the client is told why."""
        self._ledger.drop(number)
        with self._lock:
            self._unanswered.pop(question.digest, None)

    def refuse(self, sentence: str) -> None:
        """Note that a request was refused, so that the run has no score."""
        with self._lock:
            self._trouble = self._trouble or sentence

    def tell(self, sentence: str) -> None:
        """Note that one try of a call failed."""
        with self._lock:
            self._notes = [*self._notes, sentence][-20:]

    def tries_failed(self) -> Mapping[str, int]:
        """Return how many tries failed, by the sentence that says why."""
        with self._lock:
            return {each: self._notes.count(each) for each in dict.fromkeys(self._notes)}

    def trouble(self) -> str:
        """Return in a sentence why the run cannot have a score, "" where all that was asked was answered."""
        with self._lock:
            if self._trouble:
                return f"the judge's proxy refused a call: {self._trouble}"
            for sentence in self._unanswered.values():
                return f"the judge got no answer: {sentence}"
        return ""

    def use(self) -> JudgeUse:
        """Return what the run has used on this machine, earlier attempts at it and calls under way too."""
        found = self._ledger.spent(self.run)
        with self._lock:
            return JudgeUse(
                calls=found.calls,
                cached=self._cached,
                tokens_in=found.tokens_in,
                tokens_out=found.tokens_out,
                usd=round(found.usd, 9),
            )

    def close(self) -> None:
        """Answer nothing more."""
        self.is_closed = True
        if self.listener:
            with suppress(OSError):
                self.listener.close()

    def _usd(self, question: Question, usage: Usage) -> float:
        return usage.usd(self.spec.prices.get(question.model, (0.0, 0.0)))
