"""The settings of `docs/howto/mcp.md` are valid, and what they name starts and speaks the protocol."""

import json
import os
import re
import shutil
import sys
import tomllib
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from gateway.mcp_tools import TOOLS
from mesh.server import EmbeddedServer
from tests.support.follower import blocks_of
from tests.support.hub import gateway, register
from tests.support.mcp_lines import RawClient
from tests.test_mcp_stdio import called, opened_tiny

BLOCKS = {block.title: block.text for block in blocks_of("docs/howto/mcp.md") if block.title}
PLACES = {  # where each client keeps its servers, by its documentation
    ".mcp.json": ("mcpServers",),
    "~/.codex/config.toml": ("mcp_servers",),
    "~/.openclaw/openclaw.json": ("mcp", "servers"),
    ".cursor/mcp.json": ("mcpServers",),
    ".vscode/mcp.json": ("servers",),
}
FIELDS = {"type", "command", "args", "env", "tool_timeout_sec"}
FIELDS_OF_HUB = {"type", "url", "transport", "headers", "bearer_token_env_var", "tool_timeout_sec"}
HUB = " at a hub"


def server_in(title: str) -> dict[str, Any]:
    found: Any = (tomllib.loads if title.removesuffix(HUB).endswith(".toml") else json.loads)(BLOCKS[title])
    for key in PLACES[title.removesuffix(HUB)]:
        found = found[key]
    server: dict[str, Any] = found["mesh"]
    return server


def test_the_page_has_settings_for_every_client() -> None:
    assert set(BLOCKS) == {*PLACES, *(f"{place}{HUB}" for place in PLACES)}


def test_the_page_has_every_tool_with_its_arguments() -> None:
    rows = [row.split("|") for row in Path("docs/howto/mcp.md").read_text().splitlines() if row.startswith("| `")]
    shown = {row[1].strip(" `"): [word.split("`")[0] for word in row[2].split("`")[1::2]] for row in rows}
    assert shown == {name: list(tool.schema["properties"]) for name, tool in TOOLS.items()}


@pytest.mark.parametrize("title", PLACES)
async def test_what_the_settings_of_a_client_name_starts_and_answers(
    title: str, tmp_path: Path, home: Path, server: EmbeddedServer
) -> None:
    named = server_in(title)
    assert set(named) <= FIELDS
    await opened_tiny(tmp_path, home, server.url)
    words = [word.replace("digits", "tiny") for word in named["args"]]
    mesh = shutil.which(named["command"], path=str(Path(sys.executable).parent))
    assert mesh is not None
    environ = {**os.environ, **named.get("env", {}), "MESH_HOME": str(home), "MESH_NATS": server.url}
    async with await anyio.open_process([mesh, *words], env=environ, cwd=tmp_path) as process:
        client = RawClient(process)
        with anyio.fail_after(120):
            await client.hello("2025-11-25", title)
            went_wrong, values, text = await client.call("note", text="hello")
            assert (went_wrong, values.get("author")) == (False, words[words.index("--name") + 1]), text
            assert await client.ended() == 0


async def test_what_the_settings_for_a_hub_name_answers(tmp_path: Path, home: Path, server: EmbeddedServer) -> None:
    await opened_tiny(tmp_path, home, server.url)
    async with gateway(home, server.url) as hub:
        key = await register(hub.url, "ann")
        for title in PLACES:
            named = server_in(title + HUB)
            assert set(named) <= FIELDS_OF_HUB
            url = named["url"].replace("https://hub.example.org/a/digits", f"{hub.url}/a/tiny")
            headers = named.get("headers") or {"Authorization": f"Bearer ${{{named['bearer_token_env_var']}}}"}
            given = {name: re.sub(r"\$\{[\w:-]+\}", key, value) for name, value in headers.items()}
            assert given == {"Authorization": f"Bearer {key}"}, title
            async with (
                httpx2.AsyncClient(headers=given, timeout=60) as http,
                Client(streamable_http_client(url, http_client=http)) as client,
            ):
                assert (await called(client, "status", {}))["arena"] == "tiny"
