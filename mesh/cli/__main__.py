"""The composition root: every command of `mesh`."""

import io
import sys
from contextlib import aclosing
from pathlib import Path
from typing import Annotated, Literal

import anyio
import msgspec
from cyclopts import App, CycloptsError, Parameter
from cyclopts.validators import Number

import mesh
from mesh.cli.codes import ExitCode
from mesh.cli.run import run

app = App(
    name="mesh",
    version=mesh.__version__,
    help="A research swarm: agents post proposals on NATS, workers run them, DuckDB ranks them.",
)
git = App(name="git", help="The code of the swarm as a git repository.")
app.command(git)

Arena = Annotated[str | None, Parameter(help="Name of the arena; needed only where there are several.")]
Nats = Annotated[str | None, Parameter(help="NATS server; default: MESH_NATS, else the one of `mesh up`.")]
Rows = Annotated[int, Parameter(name="-n", help="How many rows at most.", validator=Number(gte=0))]
Json = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON.")]


def main(words: list[str] | None = None) -> None:
    """Run a command; an expected error is one sentence on stderr and an exit code of `mesh.cli.codes`."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        sys.exit(app(words, exit_on_error=False, print_error=False))
    except CycloptsError as error:
        print(f"mesh: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(ExitCode.BAD_INPUT)
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)


def _print_json(rows: object) -> None:
    print(msgspec.json.encode(rows).decode())


@app.command
def up(
    folder: Path,
    *,
    minutes: Annotated[float | None, Parameter(help="End after so long.")] = None,
    explorers: Annotated[int, Parameter(help="How many explorers.", validator=Number(gte=0))] = 3,
    slots: Annotated[
        int | None, Parameter(help="Trials at a time; default: what fits.", validator=Number(gte=1))
    ] = None,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    nats: Nats = None,
    sync: Annotated[str, Parameter(help="When the embedded server syncs: always, or every so often (1s).")] = "always",
    sandbox: Annotated[Literal["auto", "weak", "none"], Parameter(help="What may hold trials.")] = "auto",
    model: Annotated[str | None, Parameter(help="A model (provider/name) that a researcher asks.")] = None,
    api_base: Annotated[str | None, Parameter(help="A server of its own that speaks as the provider does.")] = None,
    budget_usd: Annotated[float | None, Parameter(help="Dollars it may spend in all.", validator=Number(gt=0))] = None,
    budget_tokens: Annotated[int | None, Parameter(help="Tokens it may use in all.", validator=Number(gt=0))] = None,
) -> int:
    """Run a whole swarm on this machine until Ctrl-C, shown live; the next `mesh up` goes on where it ended.

    Example: mesh up arenas/digits --minutes 1
    """
    from mesh.cli import up as swarm

    async def work() -> None:
        swarm.check_minutes(minutes)
        size = swarm.Size(minutes, explorers, slots)
        thinker = swarm.thinker_of(model, api_base, budget_usd, budget_tokens)
        await swarm.up(folder, size, device=device, nats=nats, sync=sync, sandbox=sandbox, thinker=thinker)

    return run(work, endless=True)


@app.command(name="open")
def open_(folder: Path, *, nats: Nats = None) -> int:
    """Open an arena on a running server, or its next version if its files changed or it was closed.

    Example: mesh open arenas/digits
    """

    async def work() -> None:
        from mesh import settings
        from mesh.cli.reach import reach_hub
        from mesh.opening import describe, open_arena

        if said := describe(folder):
            print(f"mesh: {said}", file=sys.stderr)
        async with reach_hub(nats) as hub:
            _, opened = await open_arena(hub, folder, home=settings.home())
        print(f"arena {opened.spec.name} is open, version {opened.version}, base commit {opened.base_commit[:10]}")

    return run(work)


@app.command
def close(*, arena: Arena = None, nats: Nats = None, text: str = "") -> int:
    """Close an arena: every process of it ends its work.

    Example: mesh close --arena digits
    """

    async def work() -> None:
        from mesh.cli.reach import board_of, reach
        from mesh.errors import BadInput
        from mesh.events import ArenaClosed
        from mesh.wire import Post

        async with reach(arena, nats) as bus:
            board = await board_of(bus)
            if board.opened is None or board.closed:
                raise BadInput(f"arena {bus.arena} is not open")
            event = ArenaClosed(version=board.opened.version, reason="operator", text=text)
            await bus.post(Post.new("operator", event))
            print(f"arena {bus.arena} is closed")

    return run(work)


@app.command
def status(*, arena: Arena = None, nats: Nats = None, json: Json = False) -> int:
    """Show how an arena stands.

    Example: mesh status --json
    """

    async def work() -> None:
        from mesh.cli.reach import board_of, reach

        async with reach(arena, nats) as bus:
            board = await board_of(bus)
        running = sum(1 for run in board.unfinished if board.runs[run].attempts)
        row = {
            "arena": board.arena,
            "version": board.opened.version if board.opened else 0,
            "state": "closed" if board.closed else "open",
            "seq": board.seq,
            "proposals": len(board.proposals),
            "runs_finished": len(board.runs) - len(board.unfinished),
            "runs_running": running,
            "runs_waiting": len(board.unfinished) - running,
            "champion": board.champion,
            "agents": len({m.name for m in board.agents.values() if not m.left}),
            "workers": len({m.name for m in board.workers.values() if not m.left}),
            "not_understood": board.unknown,
        }
        if json:
            _print_json(row)
        else:
            print("\n".join(f"{name.replace('_', ' '):<15} {value}" for name, value in row.items()))

    return run(work)


@app.command
def tail(
    *,
    arena: Arena = None,
    nats: Nats = None,
    follow: Annotated[bool | None, Parameter(help="Wait for more; default: on a terminal.")] = None,
    n: Annotated[
        int, Parameter(name="-n", help="How many of the last entries to begin with.", validator=Number(gte=0))
    ] = 20,
    from_seq: Annotated[int | None, Parameter(help="Sequence to begin with, instead of -n.")] = None,
    kind: Annotated[str | None, Parameter(help="Only facts of this kind, such as run.finished.")] = None,
    author: Annotated[str | None, Parameter(help="Only what this author says.")] = None,
    json: Json = False,
) -> int:
    """Show the message board, following it on a terminal; every line begins with its sequence.

    Example: mesh tail --kind proposal.promoted --no-follow -n 1000
    """

    async def work() -> None:
        from mesh.cli.reach import reach
        from mesh.cli.text import line_of
        from mesh.errors import UnknownName
        from mesh.events import KINDS

        if kind is not None and kind not in KINDS:
            raise UnknownName(f"there is no fact of kind {kind!r}; kinds are {', '.join(KINDS)}")
        goes_on = sys.stdout.isatty() if follow is None else follow
        async with reach(arena, nats) as bus:
            head = await bus.head()
            after = max(0, head - n) if from_seq is None else max(0, from_seq - 1)
            batches = bus.read(after, follow=True) if goes_on else bus.read(after, until=head)
            async with aclosing(batches):
                async for batch in batches:
                    for entry in batch:
                        if kind not in (None, entry.subject.kind) or author not in (None, entry.subject.author):
                            continue
                        if json:
                            row = {"seq": entry.seq, "time": entry.time, "kind": entry.subject.kind}
                            row |= {"author": entry.subject.author, "post": entry.raw.decode("utf-8", "replace")}
                            if entry.post:
                                row["post"] = msgspec.to_builtins(entry.post)
                            _print_json(row)
                        else:
                            print(line_of(entry))
                    sys.stdout.flush()

    return run(work, endless=True)


@app.command
def post(
    channel: str,
    text: Annotated[str, Parameter(allow_leading_hyphen=True)],
    *,
    arena: Arena = None,
    nats: Nats = None,
    name: Annotated[str, Parameter(help="Who says it.")] = "operator",
) -> int:
    """Post a note to a channel of the board; the text `-` is read from standard input.

    Example: mesh post general "try a longer warmup"
    """
    body = sys.stdin.buffer.read().decode("utf-8", "replace") if text == "-" else text

    async def work() -> None:
        from mesh.cli.reach import reach
        from mesh.events import NotePosted
        from mesh.wire import Post, check_token

        check_token("channel", channel)
        async with reach(arena, nats) as bus:
            print(await bus.post(Post.new(name, NotePosted(channel=channel, text=body))))

    return run(work)


@app.command
def leaderboard(*, arena: Arena = None, nats: Nats = None, n: Rows = 20, json: Json = False) -> int:
    """Rank the proposals: the champion, what has fresh scores by the bound of its 95 % interval, then claims.

    Example: mesh leaderboard --json
    """

    async def work() -> None:
        from mesh.cli.reach import board_of, reach
        from mesh.cli.text import MARKED, interval, printable, score_of, short, standing

        async with reach(arena, nats) as bus:
            board = await board_of(bus)
        rows = standing(board)[:n]
        if json:
            _print_json(rows)
            return
        metric = board.spec.objective.metric
        print(
            f"{'rank':>4} {metric:>10} {'95 % interval':>18} {'seeds':>5} {'state':<13} {'proposal':<10} "
            f"{'author':<12} title"
        )
        for r in rows:
            tree = str(r["proposal"])
            print(
                f"{r['rank']:>4} {score_of(board, tree):>10} {interval(r):>18} {r['seeds']:>5} {r['state']:<13} "
                f"{short(tree)} "
                f"{r['author']:<12} {printable(str(r['title']), 80)}"
            )
        if any(r["self_reported"] for r in rows):
            print(MARKED, file=sys.stderr)

    return run(work)


@app.command
def lineage(proposal: str = "champion", *, arena: Arena = None, nats: Nats = None, json: Json = False) -> int:
    """Show where a proposal came from, nearest parents first; a hash may be shortened.

    Example: mesh lineage champion
    """

    async def work() -> None:
        from mesh.cli.reach import board_of, find_proposal, reach
        from mesh.cli.text import is_self_reported, printable, score_of, short

        async with reach(arena, nats) as bus:
            board = await board_of(bus)
        rows: list[dict[str, object]] = []
        todo, seen = [(find_proposal(board, proposal), 0)], set()
        while todo:
            tree, depth = todo.pop(0)
            if tree in seen or tree not in board.proposals:
                continue
            seen.add(tree)
            event, scores = board.proposals[tree].event, board.scores(tree)
            mean = sum(scores) / len(scores) if scores else None
            row = {"depth": depth, "proposal": tree, "parents": event.parents, "mean": mean, "title": event.title}
            rows.append({**row, "self_reported": is_self_reported(board, tree)})
            todo += [(parent, depth + 1) for parent in event.parents]
        if json:
            _print_json(rows)
            return
        for row in rows:
            tree = str(row["proposal"])
            print(f"{row['depth']:>3} {short(tree)} {score_of(board, tree):>9}  {printable(str(row['title']), 90)}")

    return run(work)


@app.command
def sql(
    statement: str,
    *,
    arena: Arena = None,
    nats: Nats = None,
    json: Json = False,
    csv: Annotated[bool, Parameter(negative="", help="Print CSV.")] = False,
    max_rows: Annotated[int, Parameter(help="Rows at the most.", validator=Number(gte=1))] = 1000,
    timeout_s: Annotated[float, Parameter(help="Seconds until it is interrupted.", validator=Number(gt=0))] = 10.0,
) -> int:
    """Ask any question of all arenas in SQL, while the swarm runs; read-only.

    Views: leaderboard, runs, proposals, lineage, frontier, agents, critics, workers, noise, cost, board, events.

    Example: mesh sql "SELECT state, count(*) FROM runs GROUP BY ALL"
    """

    async def work() -> None:
        from analytics.protocol import Query
        from mesh.cli.ask import answer_of, show
        from mesh.cli.reach import pick, reach_hub
        from mesh.errors import BadInput

        if json and csv:
            raise BadInput("--json and --csv exclude each other")
        async with reach_hub(nats) as hub:
            query = Query(sql=statement, max_rows=max_rows, timeout_s=timeout_s)
            answer = await answer_of(hub, await pick(hub, arena), query)
        show(answer, "json" if json else "csv" if csv else "table")

    return run(work)


@git.command
def export(folder: Path, *, arena: Arena = None, nats: Nats = None) -> int:
    """Write the whole DAG as an ordinary git repository, the champion checked out, a ref for every proposal.

    Example: mesh git export /tmp/nanolm
    """

    async def work() -> None:
        from mesh.cli.reach import board_of, code_of, reach
        from mesh.errors import BadInput

        async with reach(arena, nats) as bus:
            board, code = await board_of(bus), code_of(bus)
            if board.opened is None:
                raise BadInput(f"arena {bus.arena} was never opened")
            base = board.opened.base_commit
            refs = {"refs/heads/base": base}
            await code.pull(base)
            for tree, p in board.proposals.items():
                await code.pull(p.event.commit, base=base)
                refs[f"refs/proposals/{tree}"] = p.event.commit
            refs["HEAD"] = board.proposals[board.champion].event.commit if board.champion else base
            refs["refs/heads/champion"] = refs["HEAD"]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            code.export(folder, refs)
        except OSError as error:
            raise BadInput(f"{folder} cannot be written: {error.strerror}" if error.errno else str(error)) from None
        print(
            f"{len(board.proposals)} proposals in {folder}; see them with: git -C {folder} log --all --graph --oneline"
        )

    return run(work)


@app.command
def version() -> int:
    """Show the versions of the mesh and of the server it would start.

    Example: mesh version
    """

    async def work() -> None:
        import subprocess

        from mesh.server import find_binary

        print(f"mesh {mesh.__version__}")
        done = await anyio.run_process([find_binary(), "--version"], stderr=subprocess.STDOUT)
        print(done.stdout.decode().strip())

    return run(work)


if __name__ == "__main__":
    main()
