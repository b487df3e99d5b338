"""AgentHub's git half as agents use it: a real git, a real curl, a real gateway process, a real nats-server."""

import itertools
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from mesh.jetstream import connect
from mesh.server import EmbeddedServer
from tests.support.arenas import ARENA, SCORE, TRAIN, write_arena
from tests.support.commits import Git
from tests.support.hub import Answer, Hub, curl, gateway, register
from tests.test_cli import fill
from tests.test_own_agent import killed

FILES = {"arena.toml": ARENA.encode(), "score.py": SCORE.encode(), "train.py": TRAIN.encode()}


@pytest.fixture
async def hub(home: Path, server: EmbeddedServer) -> AsyncIterator[Hub]:
    """A gateway on loopback for one arena, in which `better` beats `worse`."""
    await fill(home, server.url, write_arena(home.parent / "arena"))
    async with gateway(home, server.url) as running:
        yield running


async def pushed(hub: Hub, key: str, bundle: Path) -> Answer:
    return await curl(f"{hub.url}/api/git/push", "--data-binary", f"@{bundle}", key=key)


async def commits(hub: Hub, key: str, path: str) -> list[Any]:
    answer = await curl(f"{hub.url}/api/git/{path}", key=key)
    assert answer.status == 200, answer
    found: list[Any] = answer.json
    return found


async def test_a_commit_is_pushed_listed_fetched_and_compared_as_agenthub_does(hub: Hub, tmp_path: Path) -> None:
    key, git = await register(hub.url, "gpu-7.lab"), Git(tmp_path / "work")
    first = git.commit(FILES, "baseline")
    middle = git.commit({"train.py": TRAIN.replace("1.0 ", "0.4 ").encode()}, "nearer\n\nmore words")
    head = git.commit({"train.py": TRAIN.replace("1.0 ", "0.3 ").encode()}, "nearest")
    bundle = git.bundle("HEAD")

    done = await pushed(hub, key, bundle)
    assert (done.status, done.json["hashes"]) == (201, [head])
    assert [(each["commit"], each["refused"]) for each in done.json["heads"]] == [(head, "")]
    again = await pushed(hub, key, bundle)
    assert (again.status, again.json) == (201, done.json)

    listed = await commits(hub, key, "commits?agent=gpu-7.lab")
    assert [each["hash"] for each in listed] == [head, middle, first]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", listed[0].pop("created_at"))
    assert listed[0] == {"hash": head, "parent_hash": middle, "agent_id": "gpu-7.lab", "message": "nearest"}
    assert (listed[1]["message"], listed[2]["parent_hash"]) == ("nearer", "")
    assert len(await commits(hub, key, "commits?limit=2&offset=1")) == 2
    assert (await commits(hub, key, "commits?agent=nobody")) == []
    assert (await curl(f"{hub.url}/api/git/commits/{middle[:7]}", key=key)).json == listed[1]
    assert await commits(hub, key, f"commits/{first[:7]}/children") == [listed[1]]
    assert [each["hash"] for each in await commits(hub, key, f"commits/{head}/lineage")] == [head, middle, first]
    leaves = [each["hash"] for each in await commits(hub, key, "leaves")]
    assert leaves[0] == head
    assert not {first, middle} & {*leaves}

    diff = await curl(f"{hub.url}/api/git/diff/{first[:7]}/{head[:7]}", key=key)
    assert (diff.status, diff.headers["content-type"].partition(";")[0]) == (200, "text/plain")
    assert diff.body.decode().strip() == git("diff", first, head)

    for word in (head, leaves[-1][:8]):  # also what the swarm has proposed itself
        fetched = await curl(f"{hub.url}/api/git/fetch/{word}", key=key)
        assert (fetched.status, fetched.headers["content-type"]) == (200, "application/octet-stream")
        (tmp_path / "fetched.bundle").write_bytes(fetched.body)
        other = Git(tmp_path / f"other-{word}")
        other("bundle", "verify", "../fetched.bundle")
        other("bundle", "unbundle", "../fetched.bundle")
        other("checkout", "-q", word)
        assert (other.folder / "train.py").is_file()
        assert re.fullmatch(
            r"[0-9a-f]{40} refs/tmp/bundle-[0-9a-f]{8}", other("ls-remote", "../fetched.bundle").replace("\t", " ")
        )


async def test_what_is_no_commit_is_answered_as_agenthub_answers_it(hub: Hub) -> None:
    key = await register(hub.url, "eve")
    for path, status, error in (
        ("fetch/xyz", 400, "invalid hash"),
        ("fetch/abc", 400, "invalid hash"),
        ("fetch/" + "A" * 40, 400, "invalid hash"),
        ("fetch/" + "0" * 40, 404, "commit not found"),
        ("commits/" + "0" * 64, 404, "commit not found"),
        ("commits/" + "0" * 65, 400, "invalid hash"),
        ("commits/00000000/children", 404, "commit not found"),
        ("commits/00000000/lineage", 404, "commit not found"),
        ("diff/00000000/11111111", 404, "commit not found"),
        ("diff/zz/11111111", 400, "invalid hash"),
    ):
        answer = await curl(f"{hub.url}/api/git/{path}", key=key)
        assert (answer.status, answer.json) == (status, {"error": error}), path
        assert (await curl(f"{hub.url}/api/git/{path}")).status == 401


async def test_a_push_that_cannot_be_is_refused_and_too_many_are(hub: Hub, tmp_path: Path) -> None:
    key, git = await register(hub.url, "eve"), Git(tmp_path / "work")
    base = git.commit(FILES, "baseline")
    git.commit({"score.py": b"print(1)\n"}, "cheat")
    empty, large = tmp_path / "empty.bundle", tmp_path / "large.bundle"
    empty.write_bytes(b"")
    with large.open("wb") as file:
        file.truncate(50 * 1024**2 + 1)
    none = await pushed(hub, key, empty)
    assert none.status == 400
    assert none.json["error"].startswith("invalid bundle: ")
    unknown = await pushed(hub, key, git.bundle("HEAD", f"^{base}"))
    assert unknown.status == 400
    assert base in unknown.json["error"]
    for words in ((), ("-H", "Transfer-Encoding: chunked")):
        much = await curl(f"{hub.url}/api/git/push", *words, "--data-binary", f"@{large}", key=key)
        assert (much.status, much.json) == (413, {"error": "bundle too large"})
    cheat = await pushed(hub, key, git.bundle("HEAD"))
    assert cheat.status == 201
    assert "score.py is protected" in cheat.json["heads"][0]["refused"]
    secret = Git(tmp_path / "secret")
    secret.commit({**FILES, "notes.txt": key.encode()}, "my key")
    kept = await pushed(hub, key, secret.bundle("HEAD"))
    assert kept.status == 400
    assert kept.json["error"].startswith("notes.txt has a key of this hub")
    assert (await curl(f"{hub.url}/api/git/push", "--data-binary", "x")).status == 401
    answers = [await pushed(hub, key, empty) for _ in range(95)]
    assert (answers[-1].status, answers[-1].json) == (429, {"error": "push rate limit exceeded"})


PROGRAM = r"""
set -e
if [ -f ~/.agenthub_creds ]; then
  source ~/.agenthub_creds
else
  RESP=$(curl -s -X POST "$HUB/api/register" \
    -H "Content-Type: application/json" \
    -d "{\"id\":\"$NAME\"}")
  API_KEY=$(echo "$RESP" | python3 -c "import sys,json; print(json.load(sys.stdin)['api_key'])")
  AGENT_ID=$(echo "$RESP" | python3 -c "import sys,json; print(json.load(sys.stdin)['id'])")
  echo "export HUB_KEY=\"$API_KEY\"" > ~/.agenthub_creds
  echo "export AGENT_ID=\"$AGENT_ID\"" >> ~/.agenthub_creds
  source ~/.agenthub_creds
fi
auth="Authorization: Bearer $HUB_KEY"
step() {
  if [ -n "$BETWEEN" ]; then
    touch "$BETWEEN/$1.asked"
    until [ -e "$BETWEEN/$1.go" ]; do sleep 0.1; done
  fi
}
push() {
  git bundle create /tmp/push-$$.bundle HEAD 2> /dev/null
  curl -s -X POST "$HUB/api/git/push" -H "$auth" --data-binary @/tmp/push-$$.bundle
  rm -f /tmp/push-$$.bundle
}

git checkout -q --orphan "agenthub-$RANDOM"
git reset -q
git add train.py score.py arena.toml
git commit -q -m "baseline"
for channel in results discussion; do
  curl -s -X POST "$HUB/api/channels" -H "$auth" -H "Content-Type: application/json" \
    -d "{\"name\":\"$channel\",\"description\":\"experiment results\"}" > /dev/null
done
curl -s "$HUB/api/channels/results/posts?limit=50" -H "$auth" > posts.json
curl -s "$HUB/api/git/commits?limit=20" -H "$auth" > commits.json
step read
push > baseline.json
step baseline
BEST=$(curl -s "$HUB/api/git/leaves" -H "$auth" | python3 -c "import sys,json; print(json.load(sys.stdin)[0]['hash'])")
curl -s "$HUB/api/git/commits/$BEST/children" -H "$auth" > children.json
curl -s "$HUB/api/git/fetch/$BEST" -H "$auth" -o fetch.bundle
git bundle unbundle fetch.bundle > /dev/null
git checkout -q $BEST
echo "# $NAME $RANDOM" >> train.py
git add train.py && git commit -q -m "a remark"
SHORT=$(git rev-parse --short=7 HEAD)
push > pushed.json
step pushed
curl -s -X POST "$HUB/api/channels/results/posts" -H "$auth" -H "Content-Type: application/json" \
  -d "{\"content\":\"commit:$SHORT platform:cpu loss:0.5 vram_gb:0.1 | a remark\"}" > posted.json
curl -s "$HUB/api/git/diff/$BEST/$SHORT" -H "$auth" > diff.txt
curl -s "$HUB/api/git/commits/$SHORT/lineage" -H "$auth" > lineage.json
git rev-parse HEAD
"""


STEPS = ("read", "baseline", "pushed")
"""Where the program waits, if it is told to."""


_DATES = itertools.count(1_700_000_000)


def program(hub: str, folder: Path, name: str, between: str = "") -> str:
    """Do what `program_agenthub.md` says, in its order; return the commit that was pushed."""
    folder.mkdir(exist_ok=True)
    git = Git(folder / "repo")
    git.commit(FILES, f"where {name} comes from")
    env = {"HUB": hub, "NAME": name, "HOME": str(folder), "PATH": "/usr/local/bin:/usr/bin:/bin", "BETWEEN": between}
    env |= {f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    env["GIT_COMMITTER_DATE"] = f"@{next(_DATES)} +0000"  # two equal commits of one second would be one
    done = subprocess.run(["bash", "-c", PROGRAM], cwd=git.folder, env=env, capture_output=True, text=True, timeout=850)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()[-1]


@pytest.mark.timeout(900)
async def test_the_program_of_agenthub_works_with_its_hub_alone_edited_twice_in_a_row(
    hub: Hub, server: EmbeddedServer, tmp_path: Path
) -> None:
    key = await register(hub.url, "reader")
    words = [sys.executable, "-m", "mesh_cli", "gateway", "invite", "--arena", "tiny", "--nats", server.url]
    invitation = (await anyio.run_process(words, stderr=None)).stdout.decode().strip()
    said = list[str]()
    for name, prefix in (("gpu-7.lab", ""), ("gpu-8.lab", f"/a/tiny/i/{invitation}")):
        folder = tmp_path / f"of-{name}"
        ends = [await anyio.to_thread.run_sync(program, f"{hub.url}{prefix}", folder, name) for _ in range(2)]
        leaves = await commits(hub, key, "leaves")
        assert [each["hash"] for each in leaves[:2]] == [ends[1], ends[0]]
        lineage = await commits(hub, key, f"commits/{ends[1][:7]}/lineage")
        assert [(each["agent_id"], each["message"]) for each in lineage] == [(name, "a remark"), (name, "baseline")]
        said += [f"commit:{each[:7]}" for each in ends]
    posts = (await curl(f"{hub.url}/api/channels/results/posts", key=key)).json
    assert [post["content"].split()[0] for post in posts] == said[::-1]


async def told(folder: Path, step: str) -> None:
    """Wait until the program has come to a step."""
    with anyio.fail_after(300):
        while not (folder / f"{step}.asked").exists():
            await anyio.sleep(0.05)


@pytest.mark.timeout(900)
async def test_the_program_goes_on_where_gateway_and_server_are_killed_between_its_steps(
    home: Path, server: EmbeddedServer, tmp_path: Path
) -> None:
    await fill(home, server.url, write_arena(home.parent / "arena"))
    between, ends = tmp_path / "between", list[str]()
    between.mkdir()
    listen = "127.0.0.1:0"
    async with anyio.create_task_group() as tasks:

        async def work(url: str) -> None:
            ends.append(await anyio.to_thread.run_sync(program, url, tmp_path / "of-agent", "gpu-7.lab", str(between)))

        tasks.start_soon(server.watch)
        for step in STEPS:
            async with gateway(home, server.url, listen=listen) as hub:
                if listen.endswith(":0"):
                    listen = hub.url.removeprefix("http://")
                    tasks.start_soon(work, hub.url)
                else:
                    (between / f"{STEPS[STEPS.index(step) - 1]}.go").touch()
                await told(between, step)
                hub.process.kill()
                await killed(server)
        async with gateway(home, server.url, listen=listen) as hub:
            (between / f"{STEPS[-1]}.go").touch()
            with anyio.fail_after(300):
                while not ends:
                    await anyio.sleep(0.1)
            key = await register(hub.url, "reader")
            lineage = await commits(hub, key, f"commits/{ends[0]}/lineage")
            assert [each["message"] for each in lineage] == ["a remark", "baseline"]
            assert (await commits(hub, key, "leaves"))[0]["hash"] == ends[0]
            posts = (await curl(f"{hub.url}/api/channels/results/posts", key=key)).json
            assert [post["content"].split()[0] for post in posts] == [f"commit:{ends[0][:7]}"]
        tasks.cancel_scope.cancel()


async def test_a_push_whose_gateway_is_killed_half_way_is_completed_by_saying_it_again(
    home: Path, server: EmbeddedServer, tmp_path: Path
) -> None:
    await fill(home, server.url, write_arena(home.parent / "arena"))
    git = Git(tmp_path / "work")
    made = [git.commit(FILES, "baseline")]
    made += [git.commit({"notes.txt": b"%d\n" % number}, f"note {number}") for number in range(150)]
    made.append(git.commit({"train.py": TRAIN.replace("1.0 ", "0.3 ").encode()}, "nearest"))
    bundle = git.bundle("HEAD")
    async with connect(server.url) as log, gateway(home, server.url) as hub:
        key = await register(hub.url, "eve")
        async with anyio.create_task_group() as tasks:

            async def push() -> None:
                command = ["curl", "-s", "-H", f"Authorization: Bearer {key}", "--data-binary", f"@{bundle}"]
                await anyio.run_process([*command, f"{hub.url}/api/git/push"], check=False)

            bus = await log.arena("tiny")
            before = await bus.head()
            tasks.start_soon(push)
            with anyio.fail_after(300):
                while await bus.head() == before:
                    pass
            hub.process.kill()
    async with gateway(home, server.url) as hub:
        assert 0 < len(await commits(hub, key, "commits?agent=eve&limit=999")) < len(made)
        done = await pushed(hub, key, bundle)
        assert (done.status, done.json["hashes"]) == (201, [made[-1]])
        assert done.json["heads"][0]["refused"] == ""
        found = [each["hash"] for each in await commits(hub, key, "commits?agent=eve&limit=999")]
        assert found == list(reversed(made))


async def test_agents_that_push_and_post_at_once_all_get_an_answer_in_the_order_of_the_log(
    hub: Hub, tmp_path: Path
) -> None:
    names = [f"agent-{number}" for number in range(8)]
    keys = {name: await register(hub.url, name) for name in names}
    await curl(f"{hub.url}/api/channels", key=keys[names[0]], data={"name": "results"})
    heads, posts = dict[str, str](), list[int]()

    async def work(name: str) -> None:
        git = Git(tmp_path / name)
        git.commit(FILES, "baseline")
        head = git.commit({"train.py": TRAIN.replace("1.0 ", f"0.{len(name)}{names.index(name)} ").encode()}, name)
        done = await pushed(hub, keys[name], git.bundle("HEAD", name=f"{name}.bundle"))
        assert (done.status, done.json["hashes"]) == (201, [head]), done
        heads[name] = head
        said = await curl(f"{hub.url}/api/channels/results/posts", key=keys[name], data={"content": f"commit:{head}"})
        assert said.status == 201, said
        posts.append(said.json["id"])

    async with anyio.create_task_group() as tasks:
        for name in names:
            tasks.start_soon(work, name)
    listed = await commits(hub, keys[names[0]], "commits?limit=999")
    assert {each["agent_id"]: each["hash"] for each in listed if each["message"] == each["agent_id"]} == heads
    assert len({each["hash"] for each in listed}) == len(listed)
    assert len({*posts}) == len(names)
    shown = (await curl(f"{hub.url}/api/channels/results/posts?limit=50", key=keys[names[0]])).json
    assert [each["id"] for each in shown] == sorted(posts, reverse=True)
