"""The examples in Python run: a script, an optimiser, a sampler of Optuna, a notebook, and a test of a role."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

import mesh
from mesh.events import Origin, ProposalPosted, ProposalPromoted, RunFinished, RunStarted, Scored, WorkerJoined
from mesh.jetstream import connect
from mesh.server import EmbeddedServer
from mesh.testing import commit_hash, git_hash, requested, run_of
from tests.support.tiny_swarm import in_thread, measuring, open_tiny, posted

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
async def tiny(tmp_path: Path, home: Path, server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("MESH_NATS", server.url)
    await open_tiny(tmp_path / "tiny", home, server.url)
    return server.url


def ran(*words: str, cwd: Path = EXAMPLES) -> str:
    """What a program prints; it must end well."""
    done = subprocess.run(
        [sys.executable, *words], cwd=cwd, env=os.environ, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


async def test_the_scripts_take_part_in_a_real_swarm(home: Path, tiny: str) -> None:
    optuna = (
        "import optuna, optuna_sampler as example\n"
        "study = example.search('tiny', 2, optuna.samplers.TPESampler(seed=1))\n"
        "print(len(study.trials), study.best_value)"
    )

    def scripts() -> None:
        assert ran("client.py", "tiny", "HEIGHT = [0-9.]+", "HEIGHT = 0.5").startswith("promoted: loss 0.01")
        assert len(ran("optimiser.py", "tiny", "2").splitlines()) == 2
        trials, best = ran("-c", optuna).split()
        assert int(trials) == 6  # the four before, and its own
        assert float(best) <= 0.0101

    async with measuring(home, tiny):
        await in_thread(scripts)
    async with connect(tiny) as hub:
        bus = await hub.arena("tiny")
        origins = [
            entry.post.event.origin
            async for batch in bus.read()
            for entry in batch
            if entry.post and isinstance(entry.post.event, ProposalPosted)
        ]
    assert [(origin.how, origin.name) for origin in origins[1:]] == [
        ("human", "script"),
        *[("sampler", "stepper")] * 2,
        *[("sampler", "optuna")] * 2,
    ]


async def test_the_notebook_plots_the_history(tmp_path: Path, home: Path, tiny: str) -> None:
    proposals = [
        ProposalPosted(
            tree=git_hash(name), commit=commit_hash(name), title=name, origin=Origin(how="human", name="ann")
        )
        for name in ("one", "two")
    ]
    with mesh.connect() as m:
        opened = m.board.opened
    assert opened is not None
    await posted(tiny, "w", WorkerJoined(boot="w", worker_class="cpu", device="cpu", slots=1))
    for proposal, value in zip(proposals, (0.5, 0.25), strict=True):
        run = replace(requested(proposal.title), evaluator=opened.evaluator)
        end = RunFinished(
            run=run_of(proposal.title), proposal=proposal.tree, outcome=Scored(value=value), worker="w",
            worker_class="cpu", evaluator=opened.evaluator,
        )  # fmt: skip
        await posted(tiny, "ann", proposal)
        await posted(tiny, "curator", run)
        await posted(tiny, "w", RunStarted(run=end.run, attempt=1, worker="w"))
        await posted(tiny, "w", end)
    await posted(tiny, "curator", ProposalPromoted(proposal=proposals[1].tree, round=1, mean=0.25))
    cells = json.loads((EXAMPLES / "history.ipynb").read_text(encoding="utf-8"))["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    script = tmp_path / "notebook.py"
    script.write_text(
        f"import asyncio, matplotlib\nmatplotlib.use('Agg')\n\nasync def main():\n{_indented(code)}\n"
        "    print(frontier['best'].tolist(), runs['author'].tolist())\n"
        "    figure.savefig('history.png')\n\nasyncio.run(main())\n",  # as a kernel has it, a loop runs already
        encoding="utf-8",
    )
    assert ran(str(script), cwd=tmp_path).splitlines()[-1] == "[0.5, 0.25] ['ann', 'ann']"
    assert (tmp_path / "history.png").stat().st_size > 5000


def _indented(code: str) -> str:
    return "\n".join(f"    {line}" if line else line for line in code.splitlines())


def test_the_test_of_a_role_passes() -> None:
    said = ran("-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", ".", "test_role.py")
    assert "2 passed" in said
