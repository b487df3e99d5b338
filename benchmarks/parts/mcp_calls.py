"""What a call of a tool by MCP takes over the function behind it, and what the start of `mesh mcp` costs.

`mcp_function_ms` is the median of `gateway.status.status` in this process, `mcp_call_ms` that of the tool over standard
input and output of a `mesh mcp` on the same log, in turns, and `mcp_over_ms` the difference. `mcp_start_cpu_s` is the
CPU time of a `mesh mcp` from its start until it has answered the handshake and ended, `mcp_library_cpu_s` that of a
Python which imports the library alone, `bare_cpu_s` that of one which imports nothing.
"""

import json
import statistics
import sys
import time
from subprocess import PIPE
from typing import Any

import anyio
import anyio.abc
import psutil
from anyio.streams.buffered import BufferedByteReceiveStream

from benchmarks.parts.harness import Figures, say
from gateway.door import Door
from gateway.status import status


async def measure_mcp(door: Door, environ: dict[str, str], *, calls: int, starts: int) -> Figures:
    """Return what a call takes (ms), and what a start costs (CPU s).

    Args:
        door: the arena `bench`, in this process.
        environ: the environment in which `mesh mcp` finds it.
        calls: calls to measure.
        starts: starts to measure.
    """
    figures = await _calls(door, environ, calls)
    costs: dict[str, list[float]] = {"mcp_start_cpu_s": [], "mcp_library_cpu_s": [], "bare_cpu_s": []}
    for _ in range(starts):
        costs["mcp_start_cpu_s"].append(await _cpu_s(["-m", "mesh_cli", "mcp"], environ, _line("initialize", _HELLO)))
        costs["mcp_library_cpu_s"].append(await _cpu_s(["-c", "import mcp.server.lowlevel.server"], environ))
        costs["bare_cpu_s"].append(await _cpu_s(["-c", "pass"], environ))
    return {**figures, **{name: statistics.median(each) for name, each in costs.items()}}


_HELLO = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"}}


def _line(method: str, params: dict[str, Any]) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode() + b"\n"


async def _calls(door: Door, environ: dict[str, str], count: int) -> Figures:
    function, through = [], []
    command = [sys.executable, "-m", "mesh_cli", "mcp", "--arena", "bench"]
    async with await anyio.open_process(command, env=environ, stderr=sys.stderr) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        answers = BufferedByteReceiveStream(process.stdout)

        async def ask(line: bytes) -> bytes:
            assert process.stdin is not None
            await process.stdin.send(line)
            return await answers.receive_until(b"\n", 1 << 20)

        asked = _line("tools/call", {"name": "status", "arguments": {}})
        with anyio.fail_after(60):
            await ask(_line("initialize", _HELLO))
            assert b'"isError":false' in await ask(asked)
        for _ in range(count):
            began = time.perf_counter()
            await status(door)
            function.append((time.perf_counter() - began) * 1000)
            began = time.perf_counter()
            await ask(asked)
            through.append((time.perf_counter() - began) * 1000)
        await process.stdin.aclose()
        await process.wait()
    function_ms, call_ms = statistics.median(function), statistics.median(through)
    say(f"a status: {function_ms:.2f} ms from the function, {call_ms:.2f} ms by MCP")
    return {"mcp_function_ms": function_ms, "mcp_call_ms": call_ms, "mcp_over_ms": call_ms - function_ms}


async def _cpu_s(words: list[str], environ: dict[str, str], given: bytes = b"") -> float:
    """Return the CPU seconds of a Python that gets `given` and ends."""
    before = psutil.Process().cpu_times()
    await anyio.run_process([sys.executable, *words], input=given, stdout=PIPE, stderr=sys.stderr, env=environ)
    after = psutil.Process().cpu_times()
    return float(after.children_user + after.children_system - before.children_user - before.children_system)
