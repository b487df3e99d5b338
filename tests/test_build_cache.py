"""`artifact.cache`: trials begin with what the build of the accepted artifact left, and with nothing of anybody else.

The builds are real: make and gcc.
"""

import datetime as dt
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from msgspec.structs import replace

from gpu_worker import build_cache
from gpu_worker.build_sources import StartsFromNothing, changed_sources
from mesh import settings
from mesh.events import Failed, Origin, ProposalPosted, RunFinished, RunRequested, Scored
from mesh.memory import MemoryHub
from mesh.spec import ArtifactSpec
from tests.test_worker import SPEC, Arena

UNITS = 4
MAKEFILE = """
SOURCES := $(wildcard src/*.c)
OBJECTS := $(SOURCES:src/%.c=build/%.o)
build/prog: $(OBJECTS)
\tgcc -o $@ $^
build/%.o: src/%.c
\t@mkdir -p build
\tgcc -c -o $@ $<
\t@echo built $< in $(CURDIR)
"""
UNIT = '#include "scale.h"\nint f{n}(void) {{ return {n} * SCALE; }}\n'
MAIN = '#include <stdio.h>\n{declared}\nint main(void) {{ printf("{{\\"loss\\": %d}}\\n", {summed}); return 0; }}\n'
NAMES = [f"f{n}" for n in range(UNITS)]
FILES = {
    "Makefile": MAKEFILE,
    "src/scale.h": "#define SCALE 1\n",
    "src/main.c": MAIN.format(
        declared="".join(f"int {name}(void);" for name in NAMES), summed=" + ".join(f"{name}()" for name in NAMES)
    ),
    **{f"src/f{n}.c": UNIT.format(n=n) for n in range(UNITS)},
    "score.py": "import os, pathlib\nprint((pathlib.Path(os.environ['MESH_OUT']) / 'score.json').read_text())\n",
}
LOSS = sum(range(UNITS))
CACHED = replace(
    SPEC,
    artifact=ArtifactSpec(editable=("src/", "Makefile"), cache=("build/",)),
    trial=replace(
        SPEC.trial, command=("sh", "-c", "make -s build/prog && build/prog > $MESH_OUT/score.json"), budget_s=20
    ),
)


class Builds(Arena):
    """An arena of C files."""

    async def opened(self, **changes: object) -> None:
        await self.open(replace(CACHED, **changes), files=FILES)

    async def ask(self, run: str, changes: Mapping[str, str] | None = None, removed: str = "") -> None:
        files = {name: body.encode() for name, body in (FILES | dict(changes or {})).items() if name != removed}
        at = dt.datetime.now(dt.UTC)
        commit, tree = self.base, self.base_tree
        if changes or removed:
            made = self.code.commit(files, parents=[self.base], message=run, author="ann", at=at)
            await self.code.push(made.commit, base=self.base)
            commit, tree = made.commit, made.tree
        if not any(each.tree == tree for each in await self.all(ProposalPosted)):
            await self.post(ProposalPosted(tree=tree, commit=commit, title=run, origin=Origin(how="human")))
        await self.post(
            RunRequested(run=run, lane="explore", proposal=tree, commit=commit, seed=1, budget_s=20, deadline_s=40)
        )

    async def build(self, run: str, changes: Mapping[str, str] | None = None, **more: str) -> RunFinished:
        await self.ask(run, changes, **more)
        return await self.finished(run)

    @property
    def bases(self) -> list[Path]:
        return [each for each in settings.builds_dir(self.home).glob("*") if each.is_dir()]


def built(done: RunFinished) -> list[str]:
    return sorted(line.split()[1] for line in done.log_tail.splitlines() if line.startswith("built "))


def value(done: RunFinished) -> float:
    assert isinstance(done.outcome, Scored), done
    return done.outcome.value


@pytest.fixture
async def builds(tmp_path: Path) -> Builds:
    return Builds(await MemoryHub().arena("a", create=True), tmp_path)


ALL = sorted(["src/main.c", *(f"src/f{n}.c" for n in range(UNITS))])


async def test_a_trial_builds_what_its_proposal_changed_and_scores_as_from_nothing(builds: Builds) -> None:
    await builds.opened()
    async with builds.worker():
        first = await builds.build("first")
        again = await builds.build("again")
        one = await builds.build("one", {"src/f3.c": "int f3(void) { return 40; }\n"})
        header = await builds.build("header", {"src/scale.h": "#define SCALE 2\n"})
        flags = await builds.build("flags", {"Makefile": MAKEFILE.replace("gcc -c", "gcc -DSCALED -O1 -c")})
        added = await builds.build("added", {"src/more.c": "int more(void) { return 1; }\n"})
        gone = await builds.build("gone", removed="src/f2.c")
    assert (value(first), built(first), first.build_cache) == (LOSS, ALL, "filled")
    assert (value(again), built(again), again.build_cache) == (LOSS, [], "used")
    assert (value(one), built(one), one.build_cache) == (LOSS - 3 + 40, ["src/f3.c"], "used")
    assert (value(header), built(header)) == (2 * LOSS, [name for name in ALL if name != "src/main.c"])
    assert (value(flags), built(flags)) == (LOSS, ALL)
    assert flags.build_cache == "built from nothing: Makefile was changed"
    assert (value(added), built(added)) == (LOSS, ["src/more.c"])
    assert isinstance(gone.outcome, Failed), "an object of a file that is gone was linked"
    assert gone.build_cache == "built from nothing: src/f2.c was removed"
    assert {line.split()[3] for done in (first, one) for line in done.log_tail.splitlines() if "built" in line} == {
        str(settings.runs_dir(builds.home) / "artifact")
    }


PLANTED = """
EVIL := $(shell ls HOME/builds/*/manifest.json >&2; \\
  echo 'int f0(void) { return 50; }' | gcc -x c -c -o /tmp/evil.o - ; \\
  for d in build $(CURDIR)/build HOME/runs/artifact/build HOME/builds HOME/builds/* /tmp/build; do \\
  mkdir -p $$d; for o in f0.o 0 1 2 3; do cp /tmp/evil.o $$d/$$o; touch -d '+1 hour' $$d/$$o; done; done 2>/dev/null)
"""


async def test_no_object_that_a_proposal_plants_reaches_another_trial(builds: Builds) -> None:
    await builds.opened()
    planted = PLANTED.replace("HOME", str(builds.home)) + MAKEFILE
    async with builds.worker(slots=2):
        early = await builds.build("early", {"Makefile": planted, "src/scale.h": "#define SCALE 3\n"})
        assert value(early) == 50 + 3 * LOSS, "it does not even cheat itself"
        assert not builds.bases, "a proposal filled a base"
        clean = await builds.build("clean")
        for number in range(2):
            await builds.ask(f"evil{number}", {"Makefile": f"{planted}# {number}\n"})
            await builds.ask(f"code{number}", {"src/f1.c": f"int f1(void) {{ return {10 + number}; }}\n"})
        for number in range(2):
            evil = await builds.finished(f"evil{number}")
            assert value(evil) == 50 + LOSS
            assert "No such file" in evil.log_tail, "a trial sees the bases"
            assert value(await builds.finished(f"code{number}")) == LOSS - 1 + 10 + number
        again = await builds.build("again")
    assert (value(clean), clean.build_cache) == (LOSS, "filled")
    assert (value(again), again.build_cache, built(again)) == (LOSS, "used", [])


async def test_a_damaged_base_is_not_used_and_is_filled_again(builds: Builds) -> None:
    await builds.opened()
    async with builds.worker():
        await builds.build("first")
        [base] = builds.bases
        for place in base.iterdir():
            if place.name != "manifest.json":  # an object of the right size with other contents, and the old time
                found = place.stat()
                place.write_bytes(bytes(found.st_size))
                os.utime(place, ns=(found.st_atime_ns, found.st_mtime_ns))
        harmed = await builds.build("harmed", {"src/f3.c": "int f3(void) { return 40; }\n"})
        again = await builds.build("again")
    async with builds.worker():  # another life of a worker reads the base again
        used = await builds.build("used", {"src/f3.c": "int f3(void) { return 41; }\n"})
    assert (value(harmed), built(harmed)) == (LOSS - 3 + 40, ALL)
    assert "base" in harmed.build_cache
    assert (value(again), built(again), again.build_cache) == (LOSS, ALL, "filled")
    assert (value(used), built(used), used.build_cache) == (LOSS - 3 + 41, ["src/f3.c"], "used")


async def test_an_arena_without_a_cache_keeps_nothing(builds: Builds) -> None:
    await builds.opened(artifact=replace(CACHED.artifact, cache=()))
    async with builds.worker():
        done = [await builds.build(name) for name in ("first", "again")]
    assert [(value(each), built(each), each.build_cache) for each in done] == [(LOSS, ALL, "")] * 2
    assert not builds.bases


async def test_without_a_sandbox_a_cache_is_not_used_and_the_run_says_so(builds: Builds) -> None:
    await builds.opened()
    async with builds.worker(sandbox="none"):
        done = [await builds.build(name) for name in ("first", "again")]
    why = "built from nothing: sandbox tier E does not show every trial its artifact at the same path"
    assert [(built(each), each.build_cache) for each in done] == [(ALL, why)] * 2


def opened_cache(folder: Path, **files: str) -> tuple[build_cache.BuildCache, dict[str, bytes]]:
    accepted = {name: body.encode() for name, body in (files or {"a.c": "int a;"}).items()}
    made = build_cache.BuildCache(folder / "builds", ("key",), ("build/",), accepted, "build/score.json", folder)
    return made, accepted


def trial_of(folder: Path, files: Mapping[str, bytes]) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, body in files.items():
        (folder / name).write_bytes(body)
    return folder


def leave(trial: Path, **files: str) -> None:
    (trial / "build/deep").mkdir(parents=True)
    (trial / "build/link").symlink_to("a.o")
    for name, body in files.items():
        (trial / "build" / name.replace("_", ".")).write_text(body)


def test_times_modes_and_links_come_back_and_results_do_not(tmp_path: Path) -> None:
    cache, files = opened_cache(tmp_path)
    cache.begin(trial := trial_of(tmp_path / "one", files), files)
    leave(trial, a_o="object", score_json="{}")
    (trial / "build/a.o").chmod(0o755)
    os.mkfifo(trial / "build/pipe")
    old = (trial / "build/a.o").stat()
    cache.fill(trial)
    assert cache.told == "filled"
    other, _ = opened_cache(tmp_path)
    changed = {"a.c": b"int a = 2;", "b.c": b""}
    other.begin(again := trial_of(tmp_path / "two", changed), changed)
    assert other.told == "used"
    assert sorted(path.name for path in (again / "build").iterdir()) == ["a.o", "deep", "link"]
    found = (again / "build/a.o").stat()
    assert (found.st_mtime_ns, found.st_mode, found.st_size) == (old.st_mtime_ns, old.st_mode, old.st_size)
    assert os.readlink(again / "build/link") == "a.o"
    assert (again / "a.c").stat().st_mtime_ns > found.st_mtime_ns
    other.fill(again)  # a proposal's build
    third, _ = opened_cache(tmp_path)
    third.begin(last := trial_of(tmp_path / "three", files), files)
    assert (last / "a.c").stat().st_mtime_ns == build_cache.UNCHANGED_NS


def test_a_base_that_was_half_written_counts_as_missing(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from tests import test_build_cache as t\n"
        "from gpu_worker import build_base\n"
        "import os, signal\n"
        "real = build_base._copy_hashed\n"
        "def dies(name, *rest):\n"
        "    if name == 'b.o': os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return real(name, *rest)\n"
        "build_base._copy_hashed = dies\n"
        "folder = Path(sys.argv[1]); cache, files = t.opened_cache(folder)\n"
        "cache.begin(trial := t.trial_of(folder / 'one', files), files)\n"
        "t.leave(trial, a_o='object', b_o='object')\n"
        "cache.fill(trial)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert [path.name[:4] for path in (tmp_path / "builds").iterdir() if path.is_dir()] == ["new-"]
    cache, files = opened_cache(tmp_path)
    cache.begin(trial := trial_of(tmp_path / "two", files), files)
    assert cache.told == "built from nothing: there is no base yet"
    leave(trial, a_o="object")
    cache.fill(trial)
    assert cache.told == "filled"
    assert not list((tmp_path / "builds").glob("new-*"))


def test_what_has_no_room_is_not_kept_and_the_oldest_base_goes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "builds"
    for number in range(3):
        cache, files = opened_cache(tmp_path, **{"a.c": f"int a = {number};"})
        cache.begin(trial := trial_of(tmp_path / "one", files), files)
        leave(trial, a_o="x" * 1000)
        cache.fill(trial)
        os.utime(cache.place, ns=(number, number))
    kept = {path: path.stat().st_mtime_ns for path in folder.iterdir() if path.is_dir()}
    each = sum(path.stat().st_size for path in next(iter(kept)).iterdir())
    build_cache.make_room(folder, each, most_bytes=3 * each)
    assert sorted(path.stat().st_mtime_ns for path in kept if path.exists()) == [1, 2]
    monkeypatch.setattr(build_cache, "ALL_BASES_BYTES", 500)
    cache, files = opened_cache(tmp_path, **{"a.c": "int big;"})
    cache.begin(trial := trial_of(tmp_path / "one", files), files)
    leave(trial, a_o="x" * 1000)
    cache.fill(trial)
    assert cache.told == "built from nothing, and not kept: the build leaves more bytes than may be kept"
    assert not list(folder.glob("new-*"))


def test_two_slots_that_fill_at_once_leave_one_base(tmp_path: Path) -> None:
    caches = []
    for name in ("one", "two"):
        cache, files = opened_cache(tmp_path)
        cache.begin(trial := trial_of(tmp_path / name, files), files)
        leave(trial, a_o=name)
        caches.append((cache, trial))
    for cache, trial in caches:
        cache.fill(trial)
    assert [cache.told for cache, _ in caches] == ["filled", "built from nothing: there is no base yet"]
    with build_cache.locked(tmp_path / "builds") as is_mine, build_cache.locked(tmp_path / "builds") as too:
        assert (is_mine, too) == (True, False)


def test_a_clock_that_was_set_back_and_another_toolchain_start_from_nothing(tmp_path: Path) -> None:
    cache, files = opened_cache(tmp_path)
    cache.begin(trial := trial_of(tmp_path / "one", files), files)
    leave(trial, a_o="object")
    ahead = time.time_ns() + 3600 * 10**9
    os.utime(trial / "build/a.o", ns=(ahead, ahead))
    cache.fill(trial)
    other, _ = opened_cache(tmp_path)
    changed = {"a.c": b"int a = 2;"}
    other.begin(trial_of(tmp_path / "two", changed), changed)
    assert other.told == "built from nothing: the clock of this machine was set back"
    gcc = tmp_path / "bin/gcc"
    gcc.parent.mkdir()
    gcc.write_text("#!/bin/sh\n")
    gcc.chmod(0o755)
    before = build_cache.toolchain(str(gcc.parent), ())
    assert build_cache.toolchain(str(gcc.parent), ()) == before
    gcc.write_text("#!/bin/sh\nexit\n")
    assert build_cache.toolchain(str(gcc.parent), ()) != before


@pytest.mark.parametrize(
    ("changed", "fresh"),
    [
        ({"a.h": b"2"}, {"a.h", "b.h", "main.c"}),  # through b.h
        ({"other.c": b"2"}, {"other.c"}),
        ({"new.c": b""}, {"new.c"}),
        ({"lib.rs": b"2"}, {"lib.rs"}),
        ({"Makefile": b"2"}, "Makefile was changed"),
        ({"data.txt": b"2"}, "data.txt was changed"),
        ({"main.go": b"2"}, "main.go was changed"),  # no go.mod
    ],
)
def test_what_must_look_changed(changed: dict[str, bytes], fresh: set[str] | str) -> None:
    files = {
        "a.h": b"1",
        "b.h": b'#pragma once\n# include "sub/../a.h"\n',
        "main.c": b"#include <b.h>\n",
        "other.c": b'// "a.h"\n',
        "lib.rs": b"1",
        "Cargo.toml": b"",
        "Makefile": b"1",
        "data.txt": b"1",
        "main.go": b"1",
    }
    if isinstance(fresh, str):
        with pytest.raises(StartsFromNothing, match=f"^{fresh}$"):
            changed_sources(files, files | changed)
    else:
        assert changed_sources(files, files | changed) == fresh
