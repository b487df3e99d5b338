"""`--no-confirm`: an arena is opened as one of an exact metric, and the first better score is promoted."""

import signal
from pathlib import Path

import anyio
import msgspec

from agents.curation.admission import decide
from mesh.events import ArenaOpened, ProposalPromoted, RunRequested
from mesh.jetstream import connect
from mesh.memory import MemoryHub
from mesh.open_arena import exactly, open_arena
from mesh.server import EmbeddedServer
from mesh.spec import ObjectiveSpec
from mesh.testing import SPEC, Log, git_hash, opened
from mesh_cli.connect import board_of
from tests.support.arenas import write_arena
from tests.test_up import MESH, log_of, mesh_up

BASE, BETTER = map(git_hash, ("base", "better"))

SENTENCE = (
    "mesh: --no-confirm treats loss as exact: the first better score is promoted, without a confirmation run on "
    "another seed"
)
VERSION_2 = "mesh: version 2 of tiny: objective.noise changed; scores of version 1 still count\n"


async def test_it_holds_whatever_the_file_says_and_until_it_is_opened_without(tmp_path: Path, home: Path) -> None:
    folder, hub = write_arena(tmp_path / "arena"), MemoryHub()
    noisy = (await open_arena(hub, folder, home=home))[1]
    exact = (await open_arena(hub, folder, home=home, exact=True))[1]
    assert (noisy.spec.objective.noise, exact.spec.objective.noise) == ("measured", "none")
    assert exact == msgspec.structs.replace(
        noisy,
        version=2,
        reason="changed: objective.noise changed",
        spec=msgspec.structs.replace(noisy.spec, objective=exact.spec.objective),
    )
    assert (await open_arena(hub, folder, home=home, exact=True))[1] == exact
    again = (await open_arena(hub, folder, home=home))[1]
    assert again == msgspec.structs.replace(noisy, version=3, reason="changed: objective.noise changed")
    assert f"mesh: {exactly(exact.spec)}" == SENTENCE


def test_the_first_better_score_then_promotes_also_over_a_champion_that_was_proven() -> None:
    log = Log(msgspec.structs.replace(SPEC, objective=ObjectiveSpec(metric="loss", direction="minimize")))
    log.open()
    log.propose(BASE, how="baseline")
    log.score(BASE, 10.0, 9.0, 11.0)
    log.add("curator", ProposalPromoted(proposal=BASE, round=1, mean=10.0))
    log.propose(BETTER)
    log.score(BETTER, 9.9)
    # given noise, it is but a claim, and more runs are due
    events = decide(log.board, log.board.time)
    assert {event.lane for event in events if isinstance(event, RunRequested)} == {"confirm", "control"}
    # when the arena is opened as exact
    log.add("operator", msgspec.structs.replace(opened(SPEC), version=2))
    # then the score that is there proves
    [event] = decide(log.board, log.board.time)
    assert isinstance(event, ProposalPromoted)
    assert (event.proposal, event.met, event.mean, event.seeds) == (BETTER, BASE, 9.9, (1,))


async def test_mesh_up_promotes_without_confirming(tmp_path: Path, home: Path) -> None:
    folder = write_arena(tmp_path / "arena")
    async with mesh_up(folder, "--no-confirm", "--slots", "2") as up:
        await up.says("promotes", 2)
        assert await up.ends(signal.SIGINT) == 0
    board = await log_of(home)
    assert len(board.champions) >= 2
    assert {run.requested.lane for run in board.runs.values()} == {"explore"}


async def test_mesh_open_says_what_it_means_in_one_sentence(tmp_path: Path, home: Path, server: EmbeddedServer) -> None:
    folder = write_arena(tmp_path / "arena")
    for words, said in ((["--no-confirm"], f"{SENTENCE}\n"), ([], VERSION_2)):
        done = await anyio.run_process([*MESH, "open", str(folder), "--nats", server.url, *words])
        assert done.stderr.decode() == said
    async with connect(server.url) as hub:
        opened_ = (await board_of(await hub.arena("tiny"))).opened
    assert isinstance(opened_, ArenaOpened)
    assert (opened_.version, opened_.spec.objective.noise) == (2, "measured")
