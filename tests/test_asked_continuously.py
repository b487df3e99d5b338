"""Models are asked again and again, by one researcher and by several, whatever the task and the form of the answers."""

import difflib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from agents.critic import Critic
from agents.curator import Curator
from agents.explorer import Explorer
from agents.llm import next_move
from agents.researcher import Researcher
from gpu_worker.worker import run_worker
from mesh import failed_calls
from mesh.agent.call_keeper import CallKeeper
from mesh.agent.code_reader import CodeReader
from mesh.agent.item_reader import ItemReader
from mesh.agent.protocol import Agent, Context
from mesh.agent.runtime import Seat, run_agents
from mesh.code import CodeStore
from mesh.events import ModelAsked, ProposalPosted
from mesh.follow import Follower
from mesh.foreign_folder import describe
from mesh.memory import MemoryHub
from mesh.open_arena import open_arena
from mesh.wire import Entry
from tests.support.arenas import TRAIN, write_arena
from tests.support.model_server import ModelServer, Reply, model_server, say
from tests.test_researcher import KEY, NAME

HEADER = "TITLE: another number\nRATIONALE: it may help\nPREDICTED_GAIN: 0.1\nCONFIDENCE: 0.7\n\n"
QUICK = TRAIN.replace("time.sleep(0.4)\n", "")
KNOBLESS = QUICK.replace("HEIGHT = 1.0  # mesh: 0.0..2.0\n", "").replace("WIDTH = 10  # mesh: 1..1000\n", "")
KNOBLESS = KNOBLESS.replace("(HEIGHT - 0.5) ** 2 + WIDTH / 1000", "len(os.environ.get('WORDS', 'some words'))")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr(next_move, "EXPLORERS_IDLE_S", 0.5)
    monkeypatch.setattr(failed_calls, "SHORT_PAUSE_S", 0.1)  # after an answer of no use
    monkeypatch.setattr(Researcher, "every_s", 0.1)


def with_knobs(folder: Path) -> Path:
    return write_arena(folder, train=QUICK)


def without_knobs(folder: Path) -> Path:
    return write_arena(folder, train=KNOBLESS)


def of_openevolve(folder: Path) -> Path:
    shutil.copytree(Path(__file__).parent / "tasks" / "openevolve", folder)
    describe(folder)
    return folder


FORMS: list[Callable[[str, str, str], Reply]] = [
    lambda name, old, new: say(f"{HEADER}FILE: {name}\n```python\n{new}\n```\n"),
    lambda name, old, new: say(f"{HEADER}FILE: {name}\n{_blocks(old, new)}"),
    lambda name, old, new: say(f"{HEADER}```diff\n{_diff(name, old, new)}\n```\n"),
    lambda name, old, new: say(f"Let me see.\n</think>\n{HEADER}```python\n{new}\n```\n"),
    lambda name, old, new: say(json.dumps({"title": "t", "rationale": "r", "confidence": 0.5, "files": {name: new}})),
    lambda name, old, new: say("I would rather not."),
    lambda name, old, new: Reply(text="", reasoning=f"{HEADER}FILE: {name}\n```python\n{new}\n```\n"),
]
"""Answers in each form; one of them is of no use, and is asked for again."""


def _blocks(old: str, new: str) -> str:
    [(before, after)] = [pair for pair in zip(old.split("\n"), new.split("\n"), strict=True) if pair[0] != pair[1]]
    return f"<<<<<<< SEARCH\n{before}\n=======\n{after}\n>>>>>>> REPLACE\n"


def _diff(name: str, old: str, new: str) -> str:
    return "\n".join(difflib.unified_diff(old.split("\n"), new.split("\n"), f"a/{name}", f"b/{name}", lineterm=""))


def answers(name: str, pattern: str, value: Callable[[int], str]) -> list[Callable[[str], Reply]]:
    """Answers that change what `pattern` finds in the first parent of the prompt, each to another value."""

    def answer(number: int) -> Callable[[str], Reply]:
        def reply(prompt: str) -> Reply:
            found = re.search(rf"{re.escape(name)} of parent A\n<data-(\w+)>\n(.*?)\n</data-\1>", prompt, re.DOTALL)
            assert found
            old = found[2]
            new = re.sub(pattern, lambda match: match[0].replace(match[1], value(number)), old)
            return FORMS[number % len(FORMS)](name, old, new)

        return reply

    return [answer(number) for number in range(300)]


TASKS = {
    "knobs": (with_knobs, answers("train.py", r"WIDTH = (\d+)", lambda n: str(1000 - n))),
    "no knobs": (without_knobs, answers("train.py", r"'WORDS', '([^']*)'", lambda n: "w" * (n + 11))),
    "OpenEvolve": (
        of_openevolve,
        answers("initial_program.py", r"guess = \(guess \+ x / guess\) / (\S+)", lambda n: f"{n + 3}.5"),
    ),
}


async def swarm(folder: Path, home: Path, server: ModelServer, researchers: int, enough: int) -> list[Entry]:
    """Let real roles and a real worker live until each researcher has had so many answers; return the log."""
    bus, _ = await open_arena(MemoryHub(), folder, home=home)
    code = CodeStore(home / "roles.git", bus)
    options = {"model": NAME, "api_base": server.url}
    names = [f"r{number}" for number in range(researchers)]

    def context(name: str, index: int = 0, **more: str) -> Context:
        return Context(name, index, CodeReader(code), more, items=ItemReader(bus), calls=CallKeeper(bus))

    agents: dict[str, Agent] = {name: Researcher(context(name, n, **options)) for n, name in enumerate(names)}
    agents |= {"eve": Explorer(context("eve")), "cid": Critic(context("cid")), "cur": Curator(context("cur"))}
    entries: list[Entry] = []
    follower = Follower(bus)
    answered = dict.fromkeys(names, 0)
    done = anyio.Event()

    def hear(entry: Entry, counts: bool) -> None:
        entries.append(entry)
        event = entry.post.event if entry.post else None
        is_answer = isinstance(event, ModelAsked) or (isinstance(event, ProposalPosted) and event.origin.how == "model")
        if entry.subject.author in answered and is_answer:  # whoever comes first proposes the baseline
            answered[entry.subject.author] += 1
            if min(answered.values()) >= enough:
                done.set()

    with anyio.fail_after(400):
        async with anyio.create_task_group() as tasks:

            async def work() -> None:
                await run_worker(bus, name="w", slots=2, device="cpu", home=home)

            async def live() -> None:
                await run_agents(bus, [Seat(name, agent) for name, agent in agents.items()], code)

            for each in (work, live):
                tasks.start_soon(each)
            tasks.start_soon(follower.follow, hear)
            await done.wait()
            tasks.cancel_scope.cancel()
    return entries


@pytest.mark.timeout(600)
@pytest.mark.parametrize("researchers", [1, 3])
@pytest.mark.parametrize("task", TASKS)
async def test_every_task_is_asked_about_again_and_again(task: str, researchers: int, tmp_path: Path) -> None:
    write, script = TASKS[task]
    enough = 4 if task == "knobs" else 8  # where samplers can propose, models have a share
    with model_server(*script) as server:
        entries = await swarm(
            write(tmp_path / "task"), tmp_path / "home", server, researchers, -(-enough // researchers)
        )
    facts = [entry.post.event for entry in entries if entry.post]
    made = [fact for fact in facts if isinstance(fact, ProposalPosted) and fact.origin.how == "model"]
    unused = [fact for fact in facts if isinstance(fact, ModelAsked)]
    assert len(server.asked) >= enough
    assert len(made) > len(unused), [fact.text for fact in unused]
    known = ("the answer has no change", "has exactly these files", "another agent had already posted")
    assert [fact.text for fact in unused if not any(text in fact.text for text in known)] == []
    assert all(fact.call for fact in made)
    assert all(fact.call for fact in unused)
