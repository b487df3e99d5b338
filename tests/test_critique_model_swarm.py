"""A critic as a process of its own: with a model, on a real server; without, and without what models need."""

import subprocess
import sys
from contextlib import aclosing
from pathlib import Path

import anyio

from mesh import settings
from mesh.bus import ArenaBus
from mesh.code import CodeStore
from mesh.events import AnyEvent, CritiquePosted, Origin, ProposalPosted
from mesh.jetstream import connect
from mesh.model_calls import unpack_call
from mesh.open_arena import open_arena
from mesh.server import EmbeddedServer
from mesh.testing import BEGAN
from mesh.wire import Post
from tests.support.arenas import TRAIN, write_arena
from tests.support.model_server import model_server
from tests.test_critique_model import COST, verdict, without_seconds
from tests.test_researcher import NAME


async def test_the_command_starts_a_critic_that_asks(tmp_path: Path, server: EmbeddedServer) -> None:
    home = tmp_path / "home"
    async with connect(server.url) as hub:
        bus, opened = await open_arena(hub, write_arena(tmp_path / "arena"), home=home)
        code = CodeStore(settings.code_dir(home, "tiny"), bus)
        files = {**await code.files(opened.base_commit), "train.py": TRAIN.replace("= 10", "= 20").encode()}
        made = code.commit(files, parents=[opened.base_commit], message="m", author="ann", at=BEGAN)
        await code.push(made.commit)
        human = Origin(how="human")
        await bus.post(Post.new("ann", ProposalPosted(tree=made.tree, commit=made.commit, title="wide", origin=human)))
        with model_server(verdict("warn", "0.27", "0.9", "Wider is slower.")) as models:
            words = ["--model", NAME, "--api-base", models.url, "--budget-tokens", "9000", "--name", "cid"]
            where = ["--arena", "tiny", "--nats", server.url, "--home", str(home)]
            process = await anyio.open_process([sys.executable, "-m", "mesh.agent", "critic", *words, *where])
            try:
                with anyio.fail_after(200):
                    word = await critique_of(bus)
                assert isinstance(word, CritiquePosted)
                assert word.call
                kept = unpack_call(word.call.sha256, await bus.kept(word.call.sha256))
            finally:
                with anyio.CancelScope(shield=True):
                    process.terminate()
                    await process.wait()
                    await process.aclose()
    assert word == CritiquePosted(
        target=made.tree,
        verdict="warn",
        rule="model",
        text=f"{NAME}: Wider is slower.",
        predicted=0.27,
        confidence=0.9,
        cost=COST,
        call=word.call,
    )
    assert "Wider is slower." in kept.answer
    assert kept.prompt.count("+WIDTH = 20") == 1
    assert "+WIDTH = 20" in models.prompts()[0]


async def critique_of(bus: ArenaBus) -> AnyEvent:
    """The first critique in the log, once there is one."""
    async with aclosing(bus.read(follow=True)) as batches:
        async for batch in batches:
            for entry in batch:
                if entry.post and isinstance(entry.post.event, CritiquePosted):
                    return without_seconds([entry.post.event])[0]
    raise AssertionError("the log has ended")


def test_a_critic_without_a_model_needs_nothing_of_what_models_need() -> None:
    program = (
        "import sys\nsys.modules['stamina'] = sys.modules['litellm'] = None\n"
        "from agents.critic import Critic\nfrom mesh.agent.protocol import Context\n"
        "class Code:\n    files = None\n"
        "Critic(Context('c', 0, Code()))\n"
        "try:\n    Critic(Context('c', 0, Code(), {'model': 'openai/m'}))\n"
        "except Exception as error:\n    print(type(error).__name__, error)\n"
        "from mesh.agent.roles import find_role\n"
        "try:\n    find_role('researcher')\n"
        "except Exception as error:\n    print(type(error).__name__, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=200, check=True)
    of_critic, of_researcher = done.stdout.splitlines()
    assert (
        of_critic
        == "BadInput models need the package stamina, which is not installed; run pip install 'mesh-swarm[models]'"
    )
    assert of_researcher.endswith("which is not installed; run pip install 'mesh-swarm[models]'")
