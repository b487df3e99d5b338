"""A study in Python: knobs as the explorer knows them, scores from the swarm alone."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random

import pytest

import mesh
from agents.search.samplers.mutate import Mutate
from mesh.errors import ArenaIsClosed, BadInput, NotYet
from mesh.events import ArenaClosed, Origin
from mesh.knob import Knob
from mesh.server import EmbeddedServer
from mesh_client import StudyTrial
from mesh_client.knob_words import checked_values, knob_names
from tests.support.tiny_swarm import in_thread, measuring, open_tiny, posted


@pytest.fixture
async def tiny(tmp_path: Path, home: Path, server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("MESH_NATS", server.url)
    await open_tiny(tmp_path / "tiny", home, server.url)
    return server.url


async def test_a_loop_of_ones_own_asks_and_is_told_what_the_swarm_measures(home: Path, tiny: str) -> None:
    def script() -> None:
        with mesh.connect(name="ann") as m:
            study = m.study("mine", sampler="mutate")
            assert {name: (knob.low, knob.high) for name, knob in study.space.items()} == {
                "HEIGHT": (0.0, 2.0),
                "WIDTH": (1.0, 1000.0),
            }
            trial = study.ask({"HEIGHT": 0.5})
            assert (trial.values, trial.author) == ({"HEIGHT": 0.5, "WIDTH": 10}, "ann")
            told = study.tell(trial, timeout=200)
            assert (told.state, told.why) == ("scored", "")
            assert told.score == pytest.approx(0.01)
            assert m.board.proposals[trial.proposal].event.origin == Origin(how="sampler", name="mine")
            again = study.ask({"HEIGHT": 0.5})  # whatever the best code is by now
            assert (again.proposal, again.state, again.score) == (trial.proposal, "scored", told.score)
            chosen = study.ask()  # by the sampler
            assert study.tell_any([chosen], timeout=200)[0].score is not None
            states = {each.proposal: each.state for each in study.trials}
            assert states[trial.proposal] == states[chosen.proposal] == "scored"
            assert len(states) == 3  # with the baseline

    async with measuring(home, tiny):
        await in_thread(script)


async def test_an_optimiser_of_ones_own_goes_on_until_it_has_its_trials(home: Path, tiny: str) -> None:
    told: list[StudyTrial] = []

    class Narrower:
        def ask(
            self, space: Mapping[str, Knob], trials: Sequence[StudyTrial], rng: Random
        ) -> dict[str, float | int | str | bool]:
            return {"WIDTH": 1 + 3 * len(trials), "HEIGHT": 0.5}

        def tell(self, trial: StudyTrial) -> None:
            told.append(trial)

    async with measuring(home, tiny):
        ended = await in_thread(lambda: mesh.optimise(Narrower(), arena="tiny", trials=3, parallel=2))
    assert ended == told
    assert [trial.author for trial in told] == ["narrower"] * 3
    assert all(trial.score == pytest.approx(float(trial.values["WIDTH"]) / 1000) for trial in told)


class _Same:
    def ask(self, space: object, trials: object, rng: Random) -> dict[str, float | int | str | bool]:
        return {}


class _List(_Same):
    def ask(self, space: object, trials: object, rng: Random) -> dict[str, float | int | str | bool]:
        return [1]  # type: ignore[return-value]


class _Async(_Same):
    async def ask(self, space: object, trials: object, rng: Random) -> dict[str, float | int | str | bool]:  # type: ignore[override]
        return {}


@pytest.mark.filterwarnings("ignore:coroutine")
@pytest.mark.parametrize(
    ("optimiser", "words", "sentence"),
    [
        (object(), {}, "object is not an optimiser: it has no 'ask'; write `def ask(self, space, trials, rng)`"),
        (_List(), {}, "_List.ask returned a list; return a dict of values by the names of knobs"),
        (_Async(), {}, "_Async.ask returned a coroutine; return a dict of values by the names of knobs"),
        (_Same(), {"parallel": 40}, "_Same.ask returned values that are known 30 times in a row; return others"),
        (_Same(), {"trials": 0}, "trials is 0 and parallel is None; use whole numbers from 1 on, or None"),
    ],
)
async def test_an_optimiser_that_cannot_work_is_one_sentence(
    tiny: str, optimiser: _Same, words: dict[str, int], sentence: str
) -> None:
    with pytest.raises(BadInput) as raised:
        mesh.optimise(optimiser, arena="tiny", name="mine", **words)  # type: ignore[arg-type]
    assert str(raised.value) == sentence


async def test_a_closed_arena_ends_an_optimiser_and_refuses_a_trial(tiny: str) -> None:
    await posted(tiny, "operator", ArenaClosed(version=1, reason="operator"))
    assert mesh.optimise(_Same(), arena="tiny", name="mine") == []
    with mesh.connect() as m, pytest.raises(ArenaIsClosed):
        m.study().ask({"HEIGHT": 0.5})


async def test_a_study_says_what_it_lacks(tmp_path: Path, home: Path, server: EmbeddedServer) -> None:
    bare = "import json, os, pathlib\nprint(pathlib.Path(os.environ['MESH_OUT']))\n"
    await open_tiny(tmp_path / "tiny", home, server.url, train=bare)
    with mesh.connect(nats=server.url) as m:
        with pytest.raises(BadInput, match="arena tiny has no knobs; "):
            _ = m.study().space
        with pytest.raises(BadInput, match="the name of a study is 'a b'; use 1 to 128 letters"):
            m.study("a b")


async def test_a_sampler_is_named_or_given(tiny: str) -> None:
    with mesh.connect() as m:
        with pytest.raises(BadInput, match="sampler 'tpf' is not known; use one of mutate, random, "):
            m.study(sampler="tpf").ask()
        trial = m.study("own", sampler=Mutate()).ask()
        assert trial.state == "waiting"
        with pytest.raises(NotYet, match=r"^none of 1 proposals has a score after 0.1 s; wait again$"):
            m.study().tell_any([trial], timeout=0.1)
        with pytest.raises(TimeoutError, match=r"is not decided after 0 s: place 2 of 2 in the queue"):
            m.study().tell(trial, timeout=0)


SPACE = [
    Knob(file="a.py", name="LR", value=0.1, low=0.0, high=1.0),
    Knob(file="a.py", name="DEPTH", value=3, low=1, high=9),
    Knob(file="a.py", name="ACT", value="relu", choices=("relu", "gelu")),
    Knob(file="a.py", name="BIAS", value=True, choices=(False, True)),
    Knob(file="b.py", name="DEPTH", value=3, low=1, high=9),
]


class _Number:
    """What numpy's numbers are like."""

    def __init__(self, value: float) -> None:
        self._value = value

    def item(self) -> float:
        return self._value


def test_values_are_given_by_name_and_numbers_of_numpy_are_numbers() -> None:
    assert list(knob_names(SPACE)) == ["LR", "a.py:DEPTH", "ACT", "BIAS", "b.py:DEPTH"]
    given = {"LR": _Number(0.5), "b.py:DEPTH": 4.0, "a.py:ACT": "gelu", "BIAS": False}
    found = checked_values(SPACE, given)
    assert found == {("a.py", "LR"): 0.5, ("b.py", "DEPTH"): 4, ("a.py", "ACT"): "gelu", ("a.py", "BIAS"): False}
    assert isinstance(found["b.py", "DEPTH"], int)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"DEPHT": 3}, "'DEPHT' is not the name of a knob; did you mean b.py:DEPTH?"),
        ({"DEPTH": 3}, "'DEPTH' is a knob of several files; use a.py:DEPTH or b.py:DEPTH"),
        ({"x": 3}, "'x' is not the name of a knob; use LR, a.py:DEPTH, ACT, BIAS, b.py:DEPTH"),
        ({"LR": 1.5}, "LR is 1.5; use a number from 0 to 1"),
        ({"LR": float("nan")}, "LR is nan; use a number from 0 to 1"),
        ({"LR": True}, "LR is True; use a number from 0 to 1"),
        ({"LR": "0.1"}, "LR is '0.1'; use a number from 0 to 1"),
        ({"a.py:DEPTH": 2.5}, "a.py:DEPTH is 2.5; use a whole number from 1 to 9"),
        ({"ACT": "silu"}, "ACT is 'silu'; use one of 'relu', 'gelu'"),
        ({"BIAS": 1}, "BIAS is 1; use one of False, True"),
        ([1], "the values are a list; use a dict of values by the names of knobs"),
    ],
)
def test_a_bad_value_is_one_sentence(given: dict[str, object], sentence: str) -> None:
    with pytest.raises(BadInput) as raised:
        checked_values(SPACE, given)
    assert str(raised.value) == sentence
