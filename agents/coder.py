"""The coder: somebody's own coding agent, such as Claude Code or Codex, as a member of the swarm.

It lays out the champion, or the parents of a recombination, in a fresh folder with the task and all that the swarm
knows as `TASK.md`, and runs the agent's command there: in a sandbox, within a time limit, with an environment by
allow-list. The difference of the editable files becomes a proposal, with the agent's own words as its reason and its
tokens and dollars where it prints them. The folder is thrown away.

Whatever the command does costs one sentence: a run without a proposal is posted as a fact with its cost, as a call of a
model is, and repeated failures make pauses that grow. The sentence stands in the next task.
"""

import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import anyio.to_thread
import msgspec

from agents.coding.agent import CodingAgent, RunLimits
from agents.coding.known import CODER_OPTIONS
from agents.coding.outcome import what_went_wrong
from agents.coding.printed import Printed, read_printed
from agents.coding.run_budget import RunBudget
from agents.coding.run_folder import OTHER, REPORT, TASK, FolderChanges, RunFolder, clear_runs
from agents.coding.task_page import task_page
from agents.llm.changed_knobs import changed_knobs
from agents.llm.digest import worth_recalling, worth_showing
from agents.llm.hidden_keys import clean, without_any_key
from agents.llm.model_options import number_option
from agents.llm.next_move import IdleExplorers, choose_with_code, is_due
from agents.llm.patch import check_parses, parse_words
from agents.llm.unposted_calls import UnpostedCalls
from agents.search.history import History
from mesh.agent.command_runner import CommandEnd, CommandRunner
from mesh.agent.draft import BASELINE, Draft, why_refused
from mesh.agent.protocol import Answers, Context
from mesh.answer_flaw import Unusable
from mesh.arena import overlay
from mesh.baseline import is_measured
from mesh.board import Board
from mesh.data_marks import tokens_of
from mesh.editable_paths import editable_paths
from mesh.errors import BadInput, HostTrouble, Leaving
from mesh.events import Cost, KeptCall, ModelAsked, NotePosted, Origin
from mesh.failed_calls import LOST
from mesh.model_calls import ModelCall
from mesh.model_pauses import unsaid_pause
from mesh.stalled import why_paused
from mesh.text import short
from mesh.tool_orders import without_orders
from mesh.wire import Post

_TASK_TOKENS = 24_000
_MINUTES, _MEMORY_GB, _DISK_GB = 20.0, 8.0, 4.0
_TEXT = 400
_NAMED = ("command", "model", "sandbox", "budget_usd", "budget_tokens", "budget_calls")


class Working:
    """The coders of one process that are at work now."""

    def __init__(self) -> None:
        self.names: set[str] = set()


class Coder:
    """Runs a coding agent.

    Options: `command` (a known agent or a command line), `model`, `budget_usd`, `budget_tokens`, `budget_calls`,
    `minutes`, `memory_gb`, `disk_gb` and `run_usd` of one run, `task_tokens`, `env` (names of more variables), `read`
    (more paths) and `ports` (more TCP ports), each separated by commas, and `sandbox` (auto, weak or none).
    """

    listens: ClassVar[tuple[str, ...]] = (
        "proposal.posted",
        "run.finished",
        "proposal.promoted",
        "proposal.retired",
        "arena.opened",
    )
    only_latest: ClassVar[bool] = True
    role: ClassVar[str] = "coder"
    every_s: ClassVar[float] = 5.0

    def __init__(self, context: Context) -> None:
        self._name, self._code, self._texts, self._calls = context.name, context.code, context.texts, context.calls
        options = context.options
        if strange := [name for name in options if name not in (*CODER_OPTIONS, *_NAMED)]:
            raise BadInput(f"option {strange[0]} is not one of a coder; use {', '.join(CODER_OPTIONS)} or sandbox")
        if not options.get("command"):
            raise BadInput("a coder needs a coding agent; give --command claude, or the command line of any other")
        if context.commands is None:
            raise BadInput("nothing here can run commands; start the coder with `python -m mesh.agent coder`")
        self._commands: CommandRunner = context.commands
        self._agent = CodingAgent(
            options["command"],
            model=options.get("model", ""),
            env=_listed(options, "env"),
            read=[Path(name).expanduser().resolve() for name in _listed(options, "read")],
            ports=_ports(options),
        )
        self.model = self._agent.model
        self._folder = self._commands.folder / self._name
        self._budget = RunBudget(
            self._name,
            options,
            agent=self._agent.name,
            prints_usd=self._agent.entry.prints_usd,
            prints_tokens=self._agent.entry.prints_tokens,
            file=self._commands.folder / f"{self._name}.calls",
        )
        self.reserves_usd = self._budget.reserves_usd
        self._limits = RunLimits(
            (number_option(options, "minutes", _MINUTES) or 0) * 60,
            (number_option(options, "memory_gb", _MEMORY_GB) or 0) * 1024,
            (number_option(options, "disk_gb", _DISK_GB) or 0) * 1024,
        )
        self._task_tokens = int(number_option(options, "task_tokens", _TASK_TOKENS) or 0)
        self._unposted = UnpostedCalls(self._name, context.unposted)
        self._history = History(context.code.files)
        self._working = context.common.get(Working, Working)
        self._idle = IdleExplorers()
        self._claimed: dict[str, tuple[Cost, KeptCall | None]] = {}
        self._spent = False
        self._said: set[str] = set()

    async def check(self) -> None:
        """Check, before anything starts, that the coding agent can run here.

        Raises:
            BadInput: no sandbox holds.
        """
        try:
            await self._commands.prepare()
        except HostTrouble as error:
            raise BadInput(str(error)) from None

    async def handle(self, post: Post, board: Board) -> Answers:
        """Let the coding agent work if it may now."""
        return await self._think(board, post.at)

    async def joined(self, board: Board) -> Answers:
        """Find the sandbox, clear what an earlier life has left, and begin."""
        await anyio.to_thread.run_sync(clear_runs, self._folder)
        try:
            weakness = await self._commands.prepare()
        except HostTrouble as error:
            raise Leaving(str(error)) from None
        return [*self._once(weakness), *await self._think(board, board.time)]

    async def tick(self, now: dt.datetime, board: Board) -> Answers:
        """Let the coding agent work if a pause has ended."""
        return await self._think(board, now)

    async def _think(self, board: Board, now: dt.datetime) -> Answers:
        self._budget.look(board)
        if board.opened is None or board.closed:
            return []
        if board.opened.base_tree not in board.proposals:
            return [BASELINE]
        if lost := self._lost(board):
            return lost
        if text := unsaid_pause(board, self._name):
            return [NotePosted(channel="search", text=text)]
        is_alone = self._idle.seen(board, now)
        if self._spent or not is_measured(board) or why_paused(board):
            return []
        if not is_due(board, self._name, now, alone=is_alone):
            return []
        if stop := self._budget.exceeds(board):
            self._spent = True
            return [NotePosted(channel="ops", text=stop)]
        move, parents = await choose_with_code(board, self._name, self._code)
        return await self._work(board, move, parents)

    def _lost(self, board: Board) -> list[ModelAsked]:
        """Return the cost of runs whose proposal the log refused, and of those that an earlier life has begun."""
        taken = [t for t in self._claimed if t in board.proposals and board.proposals[t].author != self._name]
        paid = [self._claimed[tree] for tree in taken]
        self._claimed.clear()
        why = "another agent had already posted the same files"
        facts = [self._asked("propose", cost, why, ok=True, call=call) for cost, call in paid]
        if not facts and (lost := self._unposted.take(board)):
            facts = [self._asked(LOST, lost[1], "the coder was stopped, or died, while its agent worked", ok=False)]
        return facts

    async def _work(self, board: Board, move: str, parents: tuple[str, ...]) -> Answers:
        """Run the agent once; return its proposal, or why there is none."""
        assert board.opened is not None
        base = await self._code.files(board)
        start = overlay(board.spec, base, await self._code.files(board, parents[0]))
        kept, _ = without_orders(base, start)
        laid = {name: data for name, data in kept.items() if name.partition("/")[0] not in (TASK, REPORT, OTHER)}
        task = await self._task(board, move, parents)
        self._working.names.add(self._name)
        most = Cost(usd=self._budget.unsaid_usd, tokens_in=tokens_of(task), tokens_out=0)
        number = self._unposted.begin(board, most)
        run: RunFolder | None = None
        try:
            run = RunFolder(self._folder)
            await anyio.to_thread.run_sync(run.lay_out, laid)
            await anyio.to_thread.run_sync(run.lay_out, await self._beside(board, task, parents))
            editable = [name for name in editable_paths(board.spec, laid) if name in laid]
            command = self._agent.command(run, editable, self._limits, self._budget.left_usd(board))
            self._budget.begin()
            end = await self._commands.run(command)
            changes = await anyio.to_thread.run_sync(run.changes, laid, board.spec)
            report = run.report()
        except BadInput as error:
            self._unposted.answered(number, Cost())
            return [self._asked(move, Cost(), f"{self._agent.name}: {error}", ok=True)]
        except HostTrouble as error:
            self._unposted.answered(number, Cost())
            return [self._asked(move, Cost(), f"{self._agent.name} could not be run: {error}", ok=False)]
        finally:
            self._working.names.discard(self._name)
            if run is not None:
                with anyio.CancelScope(shield=True):
                    await anyio.to_thread.run_sync(run.remove)
        printed = read_printed(end.out)
        cost = self._budget.paid(msgspec.structs.replace(printed.cost, seconds=end.seconds))
        self._unposted.answered(number, cost)
        call = await self._keep(task, printed, end)
        notes = self._protected(changes)
        trouble, ok = what_went_wrong(self._agent.name, end, printed, changes, self._limits)
        self._budget.ended(cost, whole=not trouble)
        if trouble:
            return [*notes, self._asked(move, cost, trouble, ok=ok, call=call)]
        made = self._draft(board, move, parents, base, start, changes, report or printed.words)
        if isinstance(made, str):
            return [*notes, self._asked(move, cost, made, ok=True, call=call)]
        tree, draft = made
        self._claimed[tree] = cost, call
        return [*notes, _paid(draft, cost, call)]

    def _draft(
        self,
        board: Board,
        move: str,
        parents: tuple[str, ...],
        base: Mapping[str, bytes],
        start: Mapping[str, bytes],
        changes: FolderChanges,
        words: str,
    ) -> tuple[str, Draft] | str:
        """Return the proposal with its tree, or why it cannot be one."""
        patch = parse_words(without_any_key(words), changes.files)
        draft = Draft(
            changes.files,
            f"{move}: {patch.title}",
            patch.rationale,
            parents,
            predicted_gain=patch.predicted_gain,
            confidence=patch.confidence,
            knobs=changed_knobs(start, changes.files, board.spec),
            origin=Origin(how="model", name=self.model),
        )
        try:
            for name, data in changes.files.items():
                check_parses(name, data)
            tree = self._code.tree_of({**start, **changes.files})
            why = why_refused(draft, board, base, start)
        except (BadInput, Unusable) as error:
            return str(error)
        if tree in board.proposals:
            return f"proposal {short(tree)} has exactly these files; make another change"
        return why or (tree, draft)

    async def _task(self, board: Board, move: str, parents: tuple[str, ...]) -> str:
        known = await self._history.read(board)
        shown = [board.opened.base_tree if board.opened else "", *worth_showing(board)]
        code = await self._code.at_hand(board, shown)
        code |= {parent: await self._code.files(board, parent) for parent in parents}
        if self._texts:
            await self._texts.recall(board, [*parents, *worth_recalling(board)])
        return task_page(
            board,
            self._name,
            move,
            parents,
            code,
            known.trials,
            max_tokens=self._task_tokens,
            others=len(self._working.names - {self._name}),
        )

    async def _beside(self, board: Board, task: str, parents: tuple[str, ...]) -> dict[str, bytes]:
        """Return what lies beside the files of the first parent: the task, and the second parent's files."""
        found = {TASK: task.encode()}
        for parent in parents[1:2]:
            files = await self._code.files(board, parent)
            editable = editable_paths(board.spec, files)
            kept, _ = without_orders(await self._code.files(board), {n: files[n] for n in editable if n in files})
            found |= {f"{OTHER}/{name}": data for name, data in kept.items()}
        return found

    def _protected(self, changes: FolderChanges) -> list[NotePosted]:
        """Return a note about files that the agent should not have touched, once for the same ones."""
        touched = [*changes.protected, *changes.deleted]
        if not touched:
            return []
        names = ", ".join(touched[:4]) + (f" and {len(touched) - 4} more" if len(touched) > 4 else "")
        return self._once(f"{self._agent.name} changed or deleted {names}, which is not part of a proposal")

    def _once(self, text: str) -> list[NotePosted]:
        if not text or text in self._said:
            return []
        self._said.add(text)
        return [NotePosted(channel="ops", text=f"{self._name}: {text}")]

    async def _keep(self, task: str, printed: Printed, end: CommandEnd) -> KeptCall | None:
        if self._calls is None:
            return None
        call = ModelCall(
            model=self.model,
            messages=[{"role": "user", "content": without_any_key(task)}],
            answer=without_any_key(printed.words or end.out),
            trouble=without_any_key(printed.trouble or end.err[-4000:]) if end.rc != 0 else "",
        )
        return await self._calls.keep(call)

    def _asked(self, purpose: str, cost: Cost, text: str, *, ok: bool, call: KeptCall | None = None) -> ModelAsked:
        return ModelAsked(model=self.model, purpose=purpose, ok=ok, cost=cost, text=clean(text, _TEXT), call=call)


def _paid(draft: Draft, cost: Cost, call: KeptCall | None) -> Draft:
    return Draft(**{name: getattr(draft, name) for name in draft.__struct_fields__} | {"cost": cost, "call": call})


def _listed(options: Mapping[str, str], name: str) -> list[str]:
    return [word.strip() for word in options.get(name, "").split(",") if word.strip()]


def _ports(options: Mapping[str, str]) -> list[int]:
    found = _listed(options, "ports")
    if bad := [word for word in found if not (word.isdecimal() and 0 < int(word) < 65536)]:
        raise BadInput(
            f"option ports={options['ports']} has {bad[0]!r}; use numbers from 1 to 65535, such as 8000,11434"
        )
    return [int(word) for word in found]
