"""A study for a plain script: an optimiser asks for values of knobs, and is told the scores of the swarm."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from mesh.knobs import Knob
from mesh_client.astudy import AsyncStudy, StudyTrial

_Result = TypeVar("_Result")


class Study:
    """A study of an arena; `Client.study` makes it. Methods do what those of `AsyncStudy` do."""

    def __init__(self, inner: AsyncStudy, call: Callable[..., Any]) -> None:
        self._inner, self._call = inner, call
        self.name = inner.name

    @property
    def space(self) -> dict[str, Knob]:
        """The knobs of the best code by name: value, and range (`low`, `high`, `log`) or `choices`."""
        return self._of(self._inner.space)

    @property
    def trials(self) -> list[StudyTrial]:
        """All proposals of anybody as trials, in the order of the log."""
        return self._of(self._inner.trials)

    def ask(self, values: Mapping[str, object] | None = None) -> StudyTrial:
        """Propose values, by default those of the sampler, and return them as a trial; see `AsyncStudy.ask`."""
        return self._of(self._inner.ask, values)

    def tell(self, trial: StudyTrial, timeout: float | None = None) -> StudyTrial:
        """Wait for the score that the swarm measures, and return the trial with it; see `AsyncStudy.tell`."""
        return self._of(self._inner.tell, trial, timeout)

    def tell_any(self, trials: Sequence[StudyTrial], timeout: float | None = None) -> list[StudyTrial]:
        """Wait until at least one of these trials has its score, and return all that have."""
        return self._of(self._inner.tell_any, trials, timeout)

    def slots(self) -> int:
        """Return how many runs the workers take at a time."""
        return self._inner.slots()

    def _of(self, function: Callable[..., Awaitable[_Result]], *args: Any) -> _Result:
        result: _Result = self._call(function, *args)
        return result
