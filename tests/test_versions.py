"""A new version of an arena fixes something: what changed it counts no more, and what keeps to it stays."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import msgspec
import pytest

from agents.curation.admission import decide
from gateway.propose import post_draft
from mesh import events as e
from mesh.agent.draft import Draft
from mesh.board import Board
from mesh.board_bytes import from_bytes, to_bytes
from mesh.bus import ArenaBus, Hub
from mesh.code import CodeStore
from mesh.errors import RulesBroken
from mesh.follow import Follower
from mesh.jetstream import connect
from mesh.leaderboard import Ranking, leaderboard
from mesh.open_arena import open_arena
from mesh.server import embedded
from mesh.settings import code_dir
from mesh.wire import Post
from tests.support.arenas import ARENA, SCORE, write

PYTHON = "SIZE = 400  # mesh: 1..1000\nRATE = 0.1  # mesh: 0.01..1\nprint(SIZE, RATE)\n"
C_PROGRAM = "#define N 400\n#define RATE 0.1\nint main(void) { return N; }\n"
RULES = '{"limits": {"rows": 400, "rate": 0.1}}\n'
REGION = "# EVOLVE-BLOCK-START\nSIZE = 400\nRATE = 0.1\n# EVOLVE-BLOCK-END\nprint(SIZE, RATE)\n"
SMALLER = "# EVOLVE-BLOCK-START\nRATE = 0.1\n# EVOLVE-BLOCK-END\nprint(SIZE, RATE)\n"


class Study:
    """An arena of one editable file, whose facts the test posts itself."""

    def __init__(self, hub: Hub, url: str, folder: Path, name: str, text: str) -> None:
        self.hub, self.url, self.folder, self.name, self.text = hub, url, folder / "tiny", name, text
        self.home = folder / "home"
        self.arena = ARENA.replace("train.py", name)

    async def open(self, text: str = "", *, more: str = "", editable: str = "") -> Board:
        """Open the arena with this file, more of arena.toml, and other editable files."""
        self.text = text or self.text
        words = (
            self.arena.replace(f'editable = ["{self.name}"]', f"editable = [{editable}]") if editable else self.arena
        )
        write(self.folder, {"arena.toml": words + more, "score.py": SCORE, "notes.py": "ROWS = 9\n"})
        write(self.folder, {self.name: self.text})
        self.bus, self.opened = await open_arena(self.hub, self.folder, home=self.home)
        self.code = CodeStore(code_dir(self.home, "tiny"), self.bus)
        return await self.board()

    async def board(self) -> Board:
        follower = Follower(self.bus)
        await follower.catch_up()
        return follower.board

    async def propose(self, text: str, loss: float, *, file: str = "") -> str:
        """Propose the file with this text, and let it be measured on two seeds."""
        board = await self.board()
        name = file or self.name
        tree, _ = await post_draft(self.bus, self.code, board, Draft({name: text}, f"loss {loss}"), "ann")
        await self.measure(tree, loss)
        return tree

    async def measure(self, tree: str, loss: float) -> None:
        board = await self.board()
        commit = board.proposals[tree].event.commit
        lanes: tuple[e.Lane, ...] = ("explore", "confirm", "confirm")
        for seed, lane in enumerate(lanes, 1):
            run = f"{tree[:8]}-{lane}-{seed}-{board.seq}"
            asked = e.RunRequested(
                run=run, lane=lane, proposal=tree, commit=commit, seed=seed, budget_s=1.0, deadline_s=9.0,
                evaluator=self.opened.evaluator,
            )  # fmt: skip
            value = loss + seed / 1000
            done = e.RunFinished(
                run=run, proposal=tree, outcome=e.Scored(value=value), worker="w", worker_class="cpu", trial_s=1.0,
                evaluator=self.opened.evaluator,
            )  # fmt: skip
            joined = e.WorkerJoined(boot="w", worker_class="cpu", device="cpu", slots=1)
            started = e.RunStarted(run=run, attempt=1, worker="w")
            told: list[tuple[str, e.AnyEvent]] = [("w", joined), ("cur", asked), ("w", started), ("w", done)]
            await self.bus.post_all([Post.new(author, event) for author, event in told])

    async def promote(self, tree: str, loss: float) -> None:
        board = await self.board()
        event = e.ProposalPromoted(proposal=tree, round=board.round + 1, met=board.champion, mean=loss, p_better=0.99)
        await self.bus.post(Post.new("cur", event))

    async def crowned(self, *texts_and_losses: tuple[str, float]) -> list[str]:
        """Make the baseline champion with a loss of 9, then each of these one after the other."""
        board = await self.board()
        assert board.opened
        trees = [(await post_draft(self.bus, self.code, board, Draft({}, "as it is"), "ann"))[0]]
        await self.measure(trees[0], 9.0)
        await self.promote(trees[0], 9.0)
        for text, loss in texts_and_losses:
            trees.append(await self.propose(text, loss))
            await self.promote(trees[-1], loss)
        return trees


@contextlib.asynccontextmanager
async def study(folder: Path, name: str, text: str) -> AsyncIterator[Study]:
    with anyio.fail_after(300):
        async with embedded(folder / "server") as server, connect(server.url, name="test") as hub:
            yield Study(hub, server.url, folder, name, text)


def why(board: Board, tree: str) -> str:
    return board.proposals[tree].ruled_out


@pytest.mark.parametrize(
    ("name", "text", "good", "false", "then", "more", "changed"),
    [
        ("train.py", PYTHON, ("0.1 ", "0.2 "), ("400", "200"), ("1..1000", "fixed"), "", "SIZE"),
        ("sim.c", C_PROGRAM, ("0.1", "0.2"), ("400", "200"), ("400\n", "400  // mesh: fixed\n"), "", "N"),
        ("rules.json", RULES, ("0.1", "0.2"), ("400", "200"), ("", ""), 'exclude = ["limits.rows"]\n', "limits.rows"),
        (
            "rules.json",
            RULES,
            ("0.1", "0.2"),
            ("400", "200"),
            ("", ""),
            'bounds = {"*.rows" = "fixed"}\n',
            "limits.rows",
        ),
    ],
)
async def test_the_false_champion_falls_and_what_keeps_to_the_new_version_stays(
    name: str, text: str, good: tuple[str, str], false: tuple[str, str], then: tuple[str, str], more: str,
    changed: str, tmp_path: Path, capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    async with study(tmp_path, name, text) as it:
        await it.open()
        better = text.replace(*good)
        base, honest, cheat = await it.crowned((better, 5.0), (better.replace(*false), 1.0))
        second = await it.propose(text.replace(*false), 2.0)
        capfd.readouterr()
        board = await it.open(text.replace(*then), more=f"[knobs]\n{more}")
        changed = f"{changed}, which version 2 fixes"
        assert board.champion == honest
        assert changed in why(board, cheat)
        assert changed in why(board, second)
        assert why(board, honest) == why(board, base) == ""
        ranking = Ranking(board)
        assert [row.proposal for row in leaderboard(board)] == [honest, base]
        assert [ranking.state(tree) for tree in (cheat, honest, base)] == ["ruled_out", "champion", "past_champion"]
        assert board.scores(honest) == [5.001, 5.002, 5.003]  # nothing is measured again
        said = capfd.readouterr().err
        assert f"2 proposals no longer count: they changed {changed}" in said
        assert f"the champion is now {honest[:10]} (loss 5.0), loss 5" in said
        asked = [each for each in decide(board, board.time) if isinstance(each, e.RunRequested)]
        assert not {each.proposal for each in asked} & {cheat, second}


async def test_a_narrower_range_rules_out_what_lies_beyond_it_alone(tmp_path: Path) -> None:
    async with study(tmp_path, "train.py", PYTHON) as it:
        await it.open()
        near, far = PYTHON.replace("400", "300"), PYTHON.replace("400", "20")
        _, inside, outside = await it.crowned((near, 5.0), (far, 1.0))
        board = await it.open(PYTHON.replace("1..1000", "200..1000"))
        assert why(board, outside) == "has SIZE outside of its range 200..1000 in version 2"
        assert (board.champion, why(board, inside)) == (inside, "")


async def test_without_another_champion_the_new_baseline_becomes_the_first(tmp_path: Path) -> None:
    async with study(tmp_path, "train.py", PYTHON) as it:
        await it.open()
        base, cheat = await it.crowned((PYTHON.replace("400", "200"), 1.0))
        board = await it.open(PYTHON.replace("400", "800").replace("1..1000", "fixed"))
        assert (board.champion, board.heir) == ("", "")
        assert why(board, base) == why(board, cheat) == "changed SIZE, which version 2 fixes"
        new, _ = await post_draft(it.bus, it.code, board, Draft({}, "as it is"), "ann")
        await it.bus.post(Post.new("w", e.WorkerJoined(boot="b", worker_class="cpu", device="cpu", slots=2)))
        await it.measure(new, 9.5)
        board = await it.board()
        wanted = [each for each in decide(board, board.time) if isinstance(each, e.RunRequested | e.ProposalPromoted)]
        assert {each.proposal for each in wanted} == {new}


async def test_back_and_forth_the_former_champion_returns_with_its_scores(tmp_path: Path) -> None:
    async with study(tmp_path, "train.py", PYTHON) as it:
        await it.open()
        better = PYTHON.replace("0.1 ", "0.2 ")
        _, honest, cheat = await it.crowned((better, 5.0), (better.replace("400", "200"), 1.0))
        champions = [(await it.board()).champion]
        fixed = PYTHON.replace("1..1000", "fixed")
        champions += [(await it.open(text)).champion for text in (fixed, PYTHON, fixed, PYTHON)]
        assert champions == [cheat, honest, cheat, honest, cheat]
        board = await it.board()
        assert board.scores(cheat) == [1.001, 1.002, 1.003]
        assert board.opened
        assert board.opened.ruled_out == ()


async def test_a_version_that_only_loosens_rules_out_nothing(tmp_path: Path) -> None:
    fixed = PYTHON.replace("1..1000", "200..800").replace("0.01..1", "fixed")
    async with study(tmp_path, "train.py", fixed) as it:
        await it.open()
        _, first = await it.crowned((fixed.replace("400", "300"), 5.0))
        for text in (fixed.replace("200..800", "1..1000"), PYTHON, PYTHON.replace("  # mesh: 1..1000", "")):
            board = await it.open(text)
            assert (board.champion, board.opened and board.opened.ruled_out) == (first, ())


async def test_what_lost_against_a_false_champion_may_race_the_champion_that_is_left(tmp_path: Path) -> None:
    async with study(tmp_path, "train.py", PYTHON) as it:
        await it.open()
        base, _ = await it.crowned((PYTHON.replace("400", "200"), 1.0))
        lost = await it.propose(PYTHON.replace("0.1 ", "0.3 "), 4.0)
        board = await it.board()
        verdict = e.ProposalRetired(proposal=lost, round=board.round, why="not_better", met=board.champion, mean=4.0)
        await it.bus.post(Post.new("cur", verdict))
        await it.bus.post(Post.new("w", e.WorkerJoined(boot="b", worker_class="cpu", device="cpu", slots=2)))
        board = await it.open(PYTHON.replace("1..1000", "fixed"))
        assert board.champion == base
        new, _ = await post_draft(it.bus, it.code, board, Draft({}, "as it is"), "ann")
        await it.measure(new, 9.0)
        board = await it.board()
        asked = [each for each in decide(board, board.time) if isinstance(each, e.RunRequested)]
        assert {(each.proposal, each.lane) for each in asked} >= {(lost, "confirm")}


async def test_a_file_that_is_taken_out_of_the_editable_ones_is_protected(tmp_path: Path) -> None:
    async with study(tmp_path, "train.py", PYTHON) as it:
        await it.open(editable='"train.py", "notes.py"')
        _, honest = await it.crowned((PYTHON.replace("0.1 ", "0.2 "), 5.0))
        cheat = await it.propose("ROWS = 7\n", 0.0, file="notes.py")
        await it.promote(cheat, 0.0)
        board = await it.open()
        assert why(board, cheat) == "changed notes.py, which version 2 protects"
        assert board.champion == honest
        assert board.scores(honest) == []  # the evaluator is another one: it is measured again


async def test_markers_that_move_inwards_rule_out_what_changed_outside_of_them(tmp_path: Path) -> None:
    async with study(tmp_path, "train.py", REGION) as it:
        await it.open()
        better = REGION.replace("0.1", "0.2")
        _, honest, cheat = await it.crowned((better, 5.0), (better.replace("400", "200"), 1.0))
        board = await it.open("SIZE = 400\n" + SMALLER)
        assert why(board, cheat) == "changed train.py outside of the markers that version 2 has"
        assert (board.champion, why(board, honest)) == (honest, "")
        child, _ = await post_draft(it.bus, it.code, board, Draft({}, "again", parents=(honest,)), "bob")
        files = await it.code.files((await it.board()).proposals[child].event.commit)
        assert files["train.py"].decode() == "SIZE = 400\n" + SMALLER.replace("0.1", "0.2")


async def test_markers_that_move_outwards_rule_out_nothing(tmp_path: Path) -> None:
    async with study(tmp_path, "train.py", "SIZE = 400\n" + SMALLER) as it:
        await it.open()
        _, first = await it.crowned(("SIZE = 400\n" + SMALLER.replace("0.1", "0.2"), 5.0))
        for text in (REGION, PYTHON.replace("  # mesh: 1..1000", "").replace("  # mesh: 0.01..1", "")):
            board = await it.open(text)
            assert (board.champion, board.opened and board.opened.ruled_out) == (first, ())


async def test_nobody_can_propose_what_the_version_fixes_and_a_critic_rules_it_out(tmp_path: Path) -> None:
    from agents.critic import Critic
    from mesh.agent.code_reader import CodeReader
    from mesh.agent.protocol import Context

    async with study(tmp_path, "train.py", PYTHON.replace("1..1000", "fixed")) as it:
        board = await it.open()
        cheat = it.text.replace("400", "200")
        with pytest.raises(RulesBroken, match="changed SIZE, which version 1 fixes"):
            await it.propose(cheat, 1.0)
        made = it.code.commit(
            (await it.code.files(it.opened.base_commit)) | {"train.py": cheat.encode()},
            parents=[it.opened.base_commit], message="x", author="eve", at=board.time,
        )  # fmt: skip
        await it.code.push(made.commit)
        stranger = e.ProposalPosted(tree=made.tree, commit=made.commit, title="x", origin=e.Origin(how="human"))
        posted = Post.new("eve", stranger)
        await it.bus.post(posted)
        board = await it.board()
        critic = Critic(Context(name="critic", index=0, code=CodeReader(it.code)))
        [critique] = await critic.handle(posted, board)
        assert isinstance(critique, e.CritiquePosted)
        assert (critique.verdict, critique.rule) == ("block", "fixed")
        await it.bus.post(Post.new("critic", critique))
        board = await it.board()
        assert (why(board, made.tree), [*board.undecided]) == ("changed SIZE, which version 1 fixes", [])


async def test_a_proposal_that_comes_while_the_version_changes_is_ruled_out_too(tmp_path: Path) -> None:
    """Somebody else proposes after the opener has looked, and before the version is open."""
    async with study(tmp_path, "train.py", PYTHON) as it:
        await it.open()
        await it.crowned((PYTHON.replace("0.1 ", "0.2 "), 5.0))
        late = Draft({"train.py": PYTHON.replace("400", "7")}, "late")
        real = it.hub

        class Slow:
            """The hub, behind which somebody is faster: the proposal lies in the log before `arena.opened`."""

            async def arena(self, name: str, *, create: bool = False) -> ArenaBus:
                return _Racing(await real.arena(name, create=create), it, late)  # type: ignore[return-value]

        it.hub = Slow()  # type: ignore[assignment]
        board = await it.open(PYTHON.replace("1..1000", "fixed"))
        [tree] = [tree for tree, known in board.proposals.items() if known.event.title == "late"]
        it.hub = real
        follower = Follower(await real.arena("tiny"))
        await follower.catch_up()
        assert why(follower.board, tree) == "changed SIZE, which version 2 fixes"
        assert tree not in follower.board.undecided


class _Racing:
    """A bus that posts a draft of somebody else just before `arena.opened`."""

    def __init__(self, bus: ArenaBus, it: Study, draft: Draft) -> None:
        self._bus, self._it, self._draft = bus, it, draft

    def __getattr__(self, name: str) -> object:
        return getattr(self._bus, name)

    async def post(self, post: Post, *, over: int = 0) -> int:
        if isinstance(post.event, e.ArenaOpened):
            follower = Follower(self._bus)
            await follower.catch_up()
            await post_draft(self._bus, self._it.code, follower.board, self._draft, "bob")
        return await self._bus.post(post, over=over)


def test_a_board_with_rulings_survives_its_snapshot() -> None:
    from tests.support.history import T1, entries, opened, promote, proposal

    ruled = msgspec.structs.replace(opened(2), ruled_out=(e.RuledOut(text="changed N", proposals=(T1,)),))
    board = Board(arena="a")
    for entry in entries([("op", opened()), ("ann", proposal(T1)), ("cur", promote(T1, "", 1)), ("op", ruled)]):
        board.fold(entry)
    assert (board.champion, board.proposals[T1].ruled_out) == ("", "changed N")
    assert from_bytes(to_bytes(board)) == board
