"""The worker reads the items of a score, keeps those that prove, and says in a sentence why others cannot be used."""

import json
from pathlib import Path

from msgspec.structs import replace

from mesh.errors import ObjectMissing
from mesh.events import Failed, RunFinished, Scored
from mesh.items import from_object
from mesh.memory import MemoryHub
from tests.test_worker import SPEC, Arena

SCORE = """
import json, os, pathlib, shutil
out = pathlib.Path(os.environ["MESH_OUT"])
if (out / "items.json").exists():
    shutil.copy(out / "items.json", os.environ["MESH_ITEMS"])
if (out / "link").exists():
    os.symlink("/etc/hostname", os.environ["MESH_ITEMS"])
print((out / "score.json").read_text())
"""
ITEMS = replace(SPEC, objective=replace(SPEC.objective, noise="items", constraints={"ms": "<= 50"}))
GOOD = json.dumps({"values": [1, 2, 6], "ids": ["private a", "private b", "private c"], "clusters": [1, 1, 2]})


def writes(items: str, score: float, ms: float = 1) -> str:
    return (
        f"(out / 'items.json').write_text({items!r})\n"
        f"(out / 'score.json').write_text(json.dumps({{'loss': {score}, 'ms': {ms}, 'mark': {hash(items) % 1000}}}))"
    )


async def runs(tmp_path: Path, noise: str, *programs: tuple[str, str]) -> tuple[Arena, list[RunFinished]]:
    arena = Arena(await MemoryHub().arena("a", create=True), tmp_path)
    spec = replace(ITEMS, objective=replace(ITEMS.objective, noise=noise))
    await arena.open(spec, score=SCORE)
    async with arena.worker():
        for number, (program, lane) in enumerate(programs):
            await arena.request(f"{program}\nnumber = {number}", f"r{number}", lane=lane)
        return arena, [await arena.finished(f"r{number}") for number in range(len(programs))]


async def test_items_of_a_proof_are_kept_and_unusable_ones_end_the_run(tmp_path: Path) -> None:
    arena, ended = await runs(
        tmp_path,
        "items",
        (writes(GOOD, 3), "confirm"),
        (writes(GOOD.replace("6", "9"), 4), "explore"),
        (writes(GOOD, 3.2), "confirm"),
        (writes("[1, NaN]", 1), "confirm"),
        (writes('{"values": [1, 3], "ids": ["a", "a"]}', 2), "explore"),
        ("(out / 'score.json').write_text('{\"loss\": 1, \"ms\": 1}')", "confirm"),
        ("(out / 'link').touch(); (out / 'score.json').write_text('{\"loss\": 1, \"ms\": 1}')", "confirm"),
        (writes(GOOD, 3, ms=60), "confirm"),
    )
    proof, explored, *others = ended
    assert isinstance(proof.outcome, Scored), proof.outcome
    assert proof.items
    assert (proof.items.count, proof.items.clusters) == (3, 2)
    assert proof.items.margin > 0
    items = from_object(await arena.bus.get(proof.items.sha256))
    assert list(items.values) == [1, 2, 6]
    assert explored.items
    assert explored.items.ids == proof.items.ids
    try:
        await arena.bus.get(explored.items.sha256)
    except ObjectMissing:
        pass
    else:
        raise AssertionError("items that prove nothing were kept")
    messages = [end.outcome.message for end in others if isinstance(end.outcome, Failed)]
    expected = [
        "MESH_ITEMS has 3 items whose mean is 3, but the score is 3.2",
        "MESH_ITEMS has a number that is not finite",
        "MESH_ITEMS has the item 'a' twice: a bootstrap",
        'MESH_ITEMS was not written: objective.noise is "items"',
        "MESH_ITEMS cannot be read",
        "ms is 60",
    ]
    assert len(messages) == len(expected)
    for message, start in zip(messages, expected, strict=True):
        assert message.startswith(start), message
    assert [end.items for end in others] == [None] * len(others)
    async for batch in arena.bus.read():
        assert not [entry for entry in batch if b"private a" in entry.raw], "an item's name is in the log"


async def test_an_arena_that_asks_for_no_items_keeps_none_and_still_refuses_a_bootstrap(tmp_path: Path) -> None:
    _, (kept, bootstrap) = await runs(
        tmp_path,
        "measured",
        (writes(GOOD, 3.5), "confirm"),
        (writes('{"values": [1, 3], "ids": [8, 8]}', 2), "confirm"),
    )
    assert isinstance(kept.outcome, Scored)
    assert kept.items is None
    assert isinstance(bootstrap.outcome, Failed)
    assert "has the item '8' twice: a bootstrap of items is no fresh evidence" in bootstrap.outcome.message
