"""`python -m benchmarks.parts.log_at_size FACTS OBJECTS [project]`: what so many facts and objects cost.

One stream gets `FACTS` facts of the real size and another `OBJECTS` objects of 1 kB, with sync relaxed. Then the server
is stopped and started, killed and started, and measured with sync `always` against an empty arena beside, in turns.
With `project`, a projector then folds the log, and a bare client fetches and acknowledges the same entries; `late_*`
say how flat both are (`benchmarks.parts.fold`). The last line is JSON. Ten million facts take 12 GB of disk in the
temporary folder, and the projector's file more; all is deleted in the end.
"""

import os
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import anyio
import msgspec

from benchmarks.parts import raw_fill
from benchmarks.parts.harness import Figures, in_a_process, memory_mb, percentile, say, told
from benchmarks.parts.mix import opening, posts
from mesh import wire
from mesh.bus import Bus
from mesh.errors import AlreadyPosted
from mesh.jetstream import JetStreamHub, connect
from mesh.jetstream.streams import stream_of
from mesh.server import Address, answers, find_binary
from mesh.server_config import server_config

_OBJECT_BYTES = 1000
_PROBES = 400
_READ = 50_000
_SETTLE_S = 5.0


class Server:
    """A nats-server of this process, started and ended as often as one likes."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self._starts = 0

    def start(self, sync: str) -> float:
        """Start it; return the seconds until it answers, which is after it has read its store."""
        self._starts += 1
        name, config = f"size-{self._starts}", self.folder / "nats.conf"
        for old in self.folder.glob("*.ports"):
            old.unlink()
        config.write_bytes(server_config(self.folder, name, -1, sync))
        began = time.perf_counter()
        self._process = subprocess.Popen([find_binary(), "-c", str(config)])
        ports = self.folder / f"nats-server_{self._process.pid}.ports"
        while True:
            assert self._process.poll() is None, "the server ended"
            if ports.exists() and (found := re.findall(r"nats://[^\"]+", ports.read_text())):
                self.url = found[0]
                if answers(Address(self.url, name, self._process.pid, 0, os.getpid(), 0)):
                    return time.perf_counter() - began
            time.sleep(0.005)

    def end(self, how: signal.Signals) -> float:
        """End it with a signal; return the seconds until it has ended."""
        began = time.perf_counter()
        self._process.send_signal(how)
        self._process.wait()
        return time.perf_counter() - began

    @property
    def memory_mb(self) -> float:
        """Its resident memory now."""
        return memory_mb(self._process.pid)[0]


async def measure(facts: int, objects: int, projects: bool = False) -> Figures:
    """Fill, restart and measure; `facts` and `objects` are multiples of a thousand."""
    with tempfile.TemporaryDirectory(prefix="mesh-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        server = Server(folder)
        try:
            return await _measure(server, folder, facts, objects, projects)
        finally:
            server.end(signal.SIGKILL)


async def _measure(server: Server, folder: Path, facts: int, objects: int, projects: bool) -> Figures:
    figures: Figures = {"facts": facts, "objects": objects}

    def note(**found: float) -> None:
        figures.update(found)
        say(told(found))

    server.start("2m")
    async with connect(server.url) as hub:
        await hub.arena("empty", create=True)
        await (await hub.arena("size", create=True)).post(opening("size"))
        note(empty_mb=server.memory_mb)
        await _recognise_repetitions(hub, False)
        for what, count, messages in (
            ("fact", facts, raw_fill.facts("size", facts)),
            ("object", objects, raw_fill.objects("size", objects, _OBJECT_BYTES)),
        ):
            before, began = disk_bytes(folder), time.perf_counter()
            raw_fill.fill(server.url, messages)
            seconds, added = time.perf_counter() - began, disk_bytes(folder) - before
            note(**{f"{what}s_filled_per_s": count / seconds, f"disk_bytes_per_{what}": added / max(count, 1)})
        assert await (await hub.arena("size")).head() == facts + 1
        await _recognise_repetitions(hub, True)
        note(filled_mb=server.memory_mb)
    for how, word in ((signal.SIGTERM, "stop"), (signal.SIGKILL, "kill")):
        ended_s = server.end(how)
        note(**{f"{word}_s": ended_s, f"start_after_{word}_s": server.start("always")})
        note(**{f"started_after_{word}_mb": server.memory_mb})
    async with connect(server.url) as hub:
        big, empty = await hub.arena("size"), await hub.arena("empty")
        assert await big.head() == facts + 1
        for name, took in (await _in_turns({"size": big, "empty": empty}, facts)).items():
            note(**{f"{name}_p50_ms": statistics.median(took), f"{name}_p99_ms": percentile(took, 99)})
        for what in ("post", "refused", "get"):
            for at in ("p50", "p99"):
                note(**{f"{what}_{at}_ratio": figures[f"size.{what}_{at}_ms"] / figures[f"empty.{what}_{at}_ms"]})
        count = min(_READ, facts // 2)
        for name, after in (("start", 0), ("end", facts - count), ("start_again", 0), ("end_again", facts - count)):
            note(**{f"read_from_{name}_per_s": count / await _read(big, after, count)})
        note(**{"objects_got_per_s": await _objects_per_s(hub)} if objects else {})
        note(used_mb=server.memory_mb)
        await anyio.sleep(_SETTLE_S)
        note(idle_mb=server.memory_mb)
        count = await big.head()
    note(disk_bytes=disk_bytes(folder))
    if projects:
        note(**await _projected(server.url, count, folder / "size.duckdb"))
    return figures


async def _projected(url: str, count: int, path: Path) -> Figures:
    """Return how fast the projector and a bare client read all `count` entries, and the projector's memory."""
    took = {
        how: await in_a_process("benchmarks.parts.fold", how, url, "size", str(count), str(path))
        for how in ("fetch", "project")
    }
    return {
        "fetch_per_s": count / took["fetch"]["seconds"],
        "project_per_s": count / took["project"]["seconds"],
        "project_to_fetch": took["fetch"]["seconds"] / took["project"]["seconds"],
        **{f"{how}_{name}": took[how][name] for how in took for name in ("late_time", "late_cpu")},
        "projector_peak_mb": took["project"]["peak_mb"],
        "projector_file_bytes": path.stat().st_size,
        "projector_file_bytes_per_fact": path.stat().st_size / count,
    }


async def _recognise_repetitions(hub: JetStreamHub, on: bool) -> None:
    """Set the time for which the server remembers message ids: at the rate of a filling they would take gigabytes."""
    stream = stream_of("size")
    config = (await hub.link.call(f"$JS.API.STREAM.INFO.{stream}", {}))["config"]
    config["duplicate_window"] = 120_000_000_000 if on else 100_000_000
    answer = await hub.link.call(f"$JS.API.STREAM.UPDATE.{stream}", config)
    assert "error" not in answer, answer


async def _in_turns(buses: dict[str, Bus], facts: int) -> dict[str, list[float]]:
    """Return milliseconds of posts one by one, of posts that are refused, and of getting an entry by its sequence."""
    took: dict[str, list[float]] = {}
    ours = {name: list(posts(f"probe-{name}-", _PROBES)) for name in buses}
    again = {name: list(posts(f"probe-{name}-", _PROBES)) for name in buses}  # the same keys with other ids
    rng = random.Random(1)

    async def timed(name: str, deed: Callable[[], Awaitable[object]]) -> None:
        began = time.perf_counter()
        await deed()
        took.setdefault(name, []).append((time.perf_counter() - began) * 1000)

    for number in range(_PROBES):
        for name, bus in list(buses.items())[:: -1 if number % 2 else 1]:
            await timed(f"{name}.post", partial(bus.post, ours[name][number]))
    for number in range(_PROBES):
        if ours["size"][number].kind == "note.posted":  # its key is its id
            continue
        for name, bus in list(buses.items())[:: -1 if number % 2 else 1]:
            await timed(f"{name}.refused", partial(_refused, bus, again[name][number]))
    for number in range(_PROBES):
        for name, bus in list(buses.items())[:: -1 if number % 2 else 1]:
            seq = rng.randrange(facts if name == "size" else _PROBES) + 1
            await timed(f"{name}.get", partial(_got, bus, seq))
    return took


async def _refused(bus: Bus, post: wire.Post) -> None:
    try:
        await bus.post(post)
    except AlreadyPosted:
        return
    raise AssertionError(f"a second {post.kind} was accepted")


async def _got(bus: Bus, seq: int) -> None:
    [entry] = await bus.entries([seq])
    assert entry.seq == seq


async def _read(bus: Bus, after: int, count: int) -> float:
    """Return the seconds of reading `count` entries after `after`."""
    began, found = time.perf_counter(), 0
    async for batch in bus.read(after, until=after + count):
        found += len(batch)
    assert found == count
    return time.perf_counter() - began


async def _objects_per_s(hub: JetStreamHub) -> float:
    """Return how many objects can be fetched one after another."""
    bus = await hub.arena("size")
    names = []
    for seq in random.Random(1).sample(range(1, 1000), 200):
        answer = await hub.link.call("$JS.API.STREAM.MSG.GET.MESHOBJ_size", {"seq": seq})
        names.append(answer["message"]["subject"].split(".")[2])
    began = time.perf_counter()
    for name in names:
        await bus.get(name)
    return len(names) / (time.perf_counter() - began)


def disk_bytes(folder: Path) -> int:
    """Return how much of the disk the files below a folder take."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


def main() -> None:
    """Measure and print the figures."""
    facts, objects, *more = sys.argv[1:]
    print(msgspec.json.encode(anyio.run(measure, int(facts), int(objects), more == ["project"])).decode())


if __name__ == "__main__":
    main()
