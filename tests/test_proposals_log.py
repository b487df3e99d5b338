"""What leads from one thing to the next, on the command line and on the log of a real server."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from mesh import settings
from mesh.code import CodeStore
from mesh.events import (
    AnyEvent,
    Origin,
    ProposalPosted,
)
from mesh.jetstream import connect
from mesh.open_arena import open_arena
from mesh.testing import BEGAN
from mesh.wire import Post
from mesh_cli.exit import ExitCode
from tests.support.arenas import TRAIN, write_arena
from tests.test_cli import CONTROL, HOSTILE, Lab, Mesh, lab, mesh, refused, serving

__all__ = ["lab", "mesh"]


async def branch(home: Path, url: str, folder: Path) -> dict[str, str]:
    """An arena whose proposals have code: `both` was made of `left` and `right`, which change one line each."""
    async with connect(url) as hub:
        bus, opened = await open_arena(hub, folder, home=home)
        code = CodeStore(settings.code_dir(home, "tiny"), bus)
        base = await code.files(opened.base_commit)
        trees, commits = {"base": opened.base_tree}, {"base": opened.base_commit}
        lines = {"left": "A = 1\n", "right": f"\tB = '{HOSTILE}'\n", "both": "A = 1\nB = 2\n"}
        parents = {"base": [], "left": ["base"], "right": ["base"], "both": ["left", "right"]}
        for name, line in lines.items():
            files = {**base, "train.py": (TRAIN + line).encode()}
            above = [commits[parent] for parent in parents[name]]
            made = code.commit(files, parents=above, message=name, author="ann", at=BEGAN)
            await code.push(made.commit)
            trees[name], commits[name] = made.tree, made.commit
        events: list[AnyEvent] = [
            ProposalPosted(
                tree=tree,
                commit=commits[name],
                parents=tuple(trees[parent] for parent in parents[name]),
                title=f"{name} {HOSTILE}",
                origin=Origin(how="sampler"),
            )
            for name, tree in trees.items()
        ]
        for event in events:
            await bus.post(Post.new("ann", event))
        return trees


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    home = tmp_path_factory.mktemp("branch") / "home"
    with serving(home) as url:
        yield anyio.run(branch, home, url, write_arena(home.parent / "arena"))


def test_two_proposals_are_compared_down_to_their_code(trees: dict[str, str], mesh: Mesh) -> None:
    done = mesh("diff", trees["both"])
    assert (done.code, done.err) == (0, "")
    assert f"- {trees['left'][:10]} left" in done.out
    assert done.out.endswith("+B = 2\n")
    assert "knobs: B - → 2\n" in done.out
    assert "loss: - → -\n" in done.out
    assert "train.py | +1 -0\n" in mesh("diff", trees["both"], "--stat").out
    backwards = mesh("diff", trees["both"], trees["left"]).out
    assert backwards.endswith("-B = 2\n")
    assert "the code is the same" in mesh("diff", trees["left"], trees["left"]).out
    body = json.loads(mesh("diff", trees["base"], trees["right"], "--json").out)
    assert [(change["file"], change["removed"]) for change in body["files"]] == [("train.py", 0)]
    assert any("\x1b]0;owned" in line for line in body["files"][0]["lines"])
    refused(
        mesh("diff", trees["base"]), ExitCode.BAD_INPUT, "is the baseline; name a second proposal to compare it with"
    )
    refused(mesh("diff", "zzz"), ExitCode.BAD_INPUT, "no proposal of arena tiny starts with 'zzz'")


def test_one_proposal_is_compared_with_its_parent_or_with_the_baseline(trees: dict[str, str], mesh: Mesh) -> None:
    by_parent = mesh("diff", trees["both"]).out
    assert mesh("diff", trees["both"], "--parent").out == by_parent
    by_base = mesh("diff", trees["both"], "--base").out
    assert by_base == mesh("diff", "baseline", trees["both"]).out != by_parent
    assert by_base.endswith("+A = 1\n+B = 2\n")
    assert f"- {trees['base'][:10]} base" in by_base
    assert mesh("show", "baseline").out.startswith(f"proposal {trees['base']}\n")
    for words, why in (
        (("baseline", "--base"), "is the baseline; name a second proposal to compare it with"),
        ((trees["both"], "--base", "--parent"), "--base and --parent name two things to compare with; give one"),
        ((trees["both"], trees["left"], "--base"), "--base names what to compare with, and so does"),
    ):
        refused(mesh("diff", *words), ExitCode.BAD_INPUT, why)


@pytest.mark.parametrize(("command", "coloured"), [("diff", "\x1b[32m+B = 2\x1b[0m"), ("tail", "\x1b[38;5;")])
def test_every_command_is_coloured_only_where_that_is_wanted(
    trees: dict[str, str], mesh: Mesh, monkeypatch: pytest.MonkeyPatch, command: str, coloured: str
) -> None:
    words = [command, *([trees["both"]] if command == "diff" else [])]
    assert "\x1b" not in mesh(*words).out
    assert coloured in mesh(*words, "--color", "always").out
    monkeypatch.setenv("MESH_COLOR", "always")
    monkeypatch.setenv("NO_COLOR", "1")
    assert coloured in mesh(*words).out
    assert "\x1b" not in mesh(*words, "--color", "never").out


def test_the_family_of_a_proposal_is_shown_from_a_real_log(trees: dict[str, str], mesh: Mesh) -> None:
    short = {name: tree[:10] for name, tree in trees.items()}
    tree = [line.split(" - ")[0].rstrip() for line in mesh("lineage", trees["both"]).out.splitlines()]
    assert tree == [
        short["both"],
        f"├─ {short['left']}",
        f"│  {short['base']}",
        f"└─ {short['right']}",
        f"   ↑ see {short['base']}",
    ]
    assert (
        mesh("lineage", trees["both"], "--depth", "1").err
        == "mesh: 2 links go further than --depth; raise it to see them\n"
    )
    down = json.loads(mesh("lineage", trees["base"], "--down", "--json").out)
    assert [(row["proposal"], row["depth"]) for row in down] == [
        (trees["base"], 0),
        (trees["left"], 1),
        (trees["right"], 1),
        (trees["both"], 2),
    ]
    children = json.loads(mesh("children", trees["base"], "--json").out)
    assert [row["proposal"] for row in children] == [trees["left"], trees["right"]]
    assert mesh("children", trees["both"]).out == ""
    assert [row["proposal"] for row in json.loads(mesh("leaves", "--json").out)] == [trees["both"]]
    assert mesh("leaves", "-n", "0").out == ""


def test_what_others_wrote_is_harmless_here_too(trees: dict[str, str], mesh: Mesh) -> None:
    for words in (
        ["show", trees["both"]],
        ["show", "3"],
        ["diff", trees["base"], trees["right"]],
        ["lineage", trees["both"]],
        ["lineage", trees["both"], "--dot"],
        ["children", trees["base"]],
        ["leaves"],
    ):
        done = mesh(*words)
        plain = re.sub(r"[\u2500-\u257f\u2190-\u2193]", "", done.out)
        assert (words, done.code, CONTROL.findall(plain)) == (words, 0, [])


def test_facts_are_shown_in_full_even_those_that_nobody_knows(lab: Lab, mesh: Mesh) -> None:
    done = mesh("show", "3")
    assert done.out.startswith("#3 20")
    assert '"kind": "proposal.posted"' in done.out
    assert json.loads(mesh("show", "#11", "--json").out)["post"]["event"]["kind"] == "run.finished"
    unknown = mesh("show", "16")
    assert "(not understood)" in unknown.out
    assert "\x1b" not in unknown.out
    assert json.loads(mesh("show", "16", "--json").out)["post"] == HOSTILE
    refused(mesh("show", "17"), ExitCode.BAD_INPUT, "'17' is not the name of anything in arena tiny")
    refused(mesh("show", "zzz"), ExitCode.BAD_INPUT, "is not the name of anything")
    refused(mesh("show", "\x1b[31m"), ExitCode.BAD_INPUT, "is not the name of anything")
    refused(mesh("lineage", "--up", "--down"), ExitCode.BAD_INPUT, "--up and --down exclude each other")
    refused(mesh("lineage", "--dot", "--json"), ExitCode.BAD_INPUT, "--dot and --json exclude each other")
    refused(mesh("lineage", "--depth", "-1"), ExitCode.BAD_INPUT, "--depth")


def test_an_arena_that_was_never_opened_is_one_sentence(tmp_path: Path, mesh: Mesh) -> None:
    with serving(tmp_path / "home") as url:

        async def make() -> None:
            async with connect(url) as hub:
                await hub.arena("empty", create=True)

        anyio.run(make)
        for words in (["show", "x"], ["diff", "x"], ["lineage"], ["children", "x"], ["leaves"]):
            refused(mesh(*words), ExitCode.BAD_INPUT, "arena empty was never opened; mesh open FOLDER opens it")


def test_every_kind_of_thing_is_shown_as_json(lab: Lab, mesh: Mesh) -> None:
    shown = {word: json.loads(mesh("show", word, "--json").out) for word in ("champion", "r1", "agent:ann")}
    assert shown["champion"]["proposal"] == lab.better
    assert shown["r1"]["finished"]["outcome"]["value"] == 0.75
    assert (shown["agent:ann"]["role"], shown["agent:ann"]["proposals"]) == ("explorer", 2)
