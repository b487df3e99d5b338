"""No process with an event loop waits without a bound: for a lock, for a child, or for the end of a thread."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("mesh", "agents", "gpu_worker", "analytics", "gateway", "mesh_client", "mesh_cli")
WITHOUT_LOOP = ("gpu_worker/supervisor/", "gpu_worker/sandbox/attacks", "gpu_worker/runners/")
"""Programs that have no event loop: the supervisor's, and what runs inside of a trial."""
WAITS = {
    "mesh/accounts/hub_init.py": "a lock on a new folder, which others hold for the moment in which they look at it",
    "mesh/accounts/issuing.py": "a thread, until another process has written a revocation",
    "mesh_cli/render/output.py": "the user's pager, after the command",
    "mesh_cli/sql/spool.py": "a thread that reads what the event loop writes",
}
"""Modules that wait outside of the event loop."""


def waits(text: str) -> Iterator[str]:
    """Yield the calls in a module that may wait without a bound."""
    tree = ast.parse(text)
    awaited = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Await)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or id(node) in awaited:
            continue
        words = {word.attr for word in ast.walk(node) if isinstance(word, ast.Attribute)}
        bounded = bool(node.args) or any(keyword.arg in ("timeout", "timeout_s") for keyword in node.keywords)
        match node.func.attr:
            case "flock" | "lockf" if not words & {"LOCK_NB", "LOCK_UN"}:
                yield ast.unparse(node)
            case "wait" | "communicate" if not bounded:
                yield ast.unparse(node)
            case "run" | "call" | "check_call" | "check_output" if ast.unparse(node.func.value) == "subprocess":
                if not any(keyword.arg == "timeout" for keyword in node.keywords):
                    yield ast.unparse(node)


def modules() -> list[str]:
    found = [path.relative_to(ROOT).as_posix() for name in PACKAGES for path in (ROOT / name).rglob("*.py")]
    return sorted(
        name for name in found if not name.startswith(WITHOUT_LOOP) and not name.startswith("mesh_cli/arenas")
    )


def test_nobody_waits_without_a_bound_where_an_event_loop_runs() -> None:
    found = {name: list(waits((ROOT / name).read_text(encoding="utf-8"))) for name in modules()}
    assert {name: calls for name, calls in found.items() if calls and name not in WAITS} == {}
    assert [name for name in WAITS if not found[name]] == []


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("fcntl.flock(fd, fcntl.LOCK_EX)", 1),
        ("fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)", 0),
        ("process.wait()", 1),
        ("process.wait(5)", 0),
        ("async def f(): await process.wait()", 0),
        ("process.communicate(timeout=5)", 0),
        ("process.communicate()", 1),
        ("subprocess.run(['x'], check=True)", 1),
        ("subprocess.run(['x'], timeout=5)", 0),
    ],
)
def test_a_wait_without_a_bound_is_seen(text: str, count: int) -> None:
    assert len(list(waits(text))) == count
