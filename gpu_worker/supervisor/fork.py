"""Starts a sandboxed process: fork, wait for the launch, enter the sandbox, become the command.

The fork comes first, so that it is there before there is anything to run. A warm launch of `python SCRIPT …` runs the
script in the fork itself, where the modules that this process has imported are there already: torch takes seconds to
import. Any other command is executed. The standard library alone.
"""

import ast
import atexit
import contextlib
import functools
import importlib
import json
import os
import random
import resource
import signal
import socket
import sys
import threading
import traceback
import types
from collections.abc import Sequence
from typing import Literal

from gpu_worker.sandbox import kernel, owner_calls
from gpu_worker.sandbox.contain import LayerFailed, Policy, contain, enter_ahead
from gpu_worker.supervisor.mark import TOKEN, carry
from gpu_worker.supervisor.protocol import Launch
from mesh.parent_death import die_with_parent

FINDER = "MeshFinder"
"""Name of what finds our packages in an interpreter of a task (`gpu_worker.supervisor.client`)."""
RUNNERS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "runners")
_compiled: dict[tuple[str, bytes], types.CodeType] = {}
"""Scripts that are compiled ahead, by name and source."""
OPEN_FILES, ASIDE = 1024, 200
"""Descriptors below the first are closed; those that stay are meanwhile put at the second and following."""


class NotStarted(Exception):
    """A process could not be started: because of its command (`start`) or of this machine (`sandbox`)."""

    def __init__(self, why: Literal["start", "sandbox"], text: str) -> None:
        super().__init__(text)
        self.why, self.text = why, text


class ForkAhead:
    """A fork that waits for its launch, and dies with its parent.

    Args:
        files: descriptors that become its 0, 1 and 2.
        extra: descriptors that become its 3 and following, where the launch wants them.
        policy: the sandbox that it enters as far as it can before the launch, None for none. The policy of its launch
            must be one of which `can_enter_ahead` is true.
    """

    def __init__(self, files: Sequence[int], extra: Sequence[int] = (), policy: Policy | None = None) -> None:
        launch_read, self._launch_write = os.pipe()
        ours, theirs = socket.socketpair()
        self._answer, error_write = ours.detach(), theirs.detach()
        parent = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                end = _place([*files, *extra, launch_read, error_write])
                _await_launch(end - 2, end - 1, 3 + len(extra), parent, policy)
            finally:
                os._exit(127)
        os.close(launch_read)
        os.close(error_write)

    def discard(self) -> None:
        """End it without a launch."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self._launch_write)
        os.close(self._answer)

    def become(self, launch: Launch, *, use_extra: bool = False, file_mb: float = 0) -> int:
        """Become the command; return the process id once its program begins.

        Args:
            launch: the command.
            use_extra: whether it gets the extra descriptors.
            file_mb: how large any file may become that it writes; 0 for no limit.

        Raises:
            NotStarted: it cannot be sandboxed, or its program cannot be run.
        """
        with open(self._launch_write, "w") as file:
            file.write(json.dumps([launch.fields(), use_extra, int(file_mb * 1024**2)]))
        error, listener = _receive(self._answer)
        if error:
            os.waitpid(self.pid, 0)
            why, _, text = error.partition(":")
            raise NotStarted("sandbox" if why == "sandbox" else "start", text)
        if listener is not None and launch.policy:
            owner_calls.answer_owner_calls(listener, launch.policy.write)
        return self.pid


def _receive(answer: int) -> tuple[str, int | None]:
    """Wait until a fork has become its program; return its error, "" for none, and a descriptor that it sent."""
    text, listener = b"", None
    with socket.socket(fileno=answer) as channel:
        while True:
            part, descriptors, _, _ = socket.recv_fds(channel, 4096, 1)
            for listener in descriptors:
                os.set_inheritable(listener, False)
            if not part:
                return text.replace(b"\0", b"").decode(errors="replace"), listener
            text += part


def _send(descriptor: int, channel: int) -> None:
    """Send a descriptor to the supervisor, and close it here."""
    with socket.socket(fileno=os.dup(channel)) as opened:
        socket.send_fds(opened, [b"\0"], [descriptor])
    os.close(descriptor)


def _await_launch(launch_read: int, error_write: int, used: int, parent: int, policy: Policy | None) -> None:
    """Get ready, wait for the launch and become its command; write what hinders that to `error_write`."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    os.setsid()
    die_with_parent(parent=parent)
    if token := os.environ.get(TOKEN):
        carry(token)
    _be_first_to_go()
    _look_fresh()
    failed: OSError | None = None
    try:
        if policy:
            enter_ahead(policy)
    except OSError as error:
        failed = error
    with open(launch_read, "rb") as file:
        line = file.read()
    if not line:
        return
    fields, use_extra, file_bytes = json.loads(line)
    if not use_extra:
        os.closerange(3, used)
    try:
        if file_bytes:
            _bound_files(file_bytes)
        if failed:
            raise LayerFailed(f"the sandbox cannot be entered: {failed}")
        _become(Launch.of(fields), error_write, parent, entered=policy is not None)
    except LayerFailed as error:
        os.write(error_write, f"sandbox:{error}".encode())
    except OSError as error:
        os.write(error_write, f"start:{error.strerror}: {error.filename}".encode())
    except BaseException as error:
        os.write(error_write, f"start:{error!r}".encode())


def compile_ahead(script: str) -> None:
    """Compile one of our runners and import what it needs of the standard library, for all forks that will run it.

    Args:
        script: the name by which commands start it; its last part is the name of the file in `RUNNERS`.
    """
    with open(os.path.join(RUNNERS, os.path.basename(script)), "rb") as file:
        source = file.read()
    tree = ast.parse(source, script)
    for statement in tree.body:
        names = [alias.name for alias in statement.names] if isinstance(statement, ast.Import) else []
        names += [statement.module or ""] if isinstance(statement, ast.ImportFrom) else []
        for name in names:
            if name.partition(".")[0] in sys.stdlib_module_names:
                importlib.import_module(name)
    _compiled[script, source] = compile(tree, script, "exec")


@functools.cache
def own_modules() -> tuple[str, ...]:
    """Return our modules, which no trial may find imported. Call it before forking: in a fork it costs 650 pages."""
    return tuple(name for name in sys.modules if name.partition(".")[0] in ("gpu_worker", "mesh"))


def _look_fresh() -> None:
    """Hide our modules and path, and draw new seeds: all that can be done before the launch is known."""
    for name in own_modules():
        del sys.modules[name]
    sys.modules["__main__"] = types.ModuleType("__main__")
    if finders := [each for each in sys.meta_path if getattr(each, "__name__", "") == FINDER]:
        sys.meta_path.remove(finders[0])  # of another interpreter, whose path has nothing of ours
    else:
        inside = tuple(os.path.join(prefix, "") for prefix in (sys.prefix, sys.base_prefix))
        sys.path[:] = [path for path in sys.path if path.startswith(inside)]
    random.seed()
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed()


def _bound_files(size: int) -> None:
    """Let no file grow beyond so many bytes, by writing or by `fallocate`; a smaller limit stays."""
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    size = size if hard == resource.RLIM_INFINITY else min(size, hard)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def _become(launch: Launch, error_write: int, parent: int, *, entered: bool) -> None:
    os.chdir(launch.cwd)
    if launch.cores:
        os.sched_setaffinity(0, launch.cores)
    if (listener := contain(launch.policy or Policy(), entered=entered)) is not None:
        _send(listener, error_write)
    if launch.policy is None and os.geteuid() != 0:
        kernel.drop_capabilities()  # those of the supervisor's user namespace
    die_with_parent(parent=parent)  # again: a new user id clears it
    os.chdir(launch.cwd)  # the folder as it now is: mounts may have changed
    if launch.warm and is_script(launch.command):
        os.environ.clear()
        os.environ.update(launch.env)
        with open(launch.command[1], "rb") as file:
            source = file.read()
        os.close(error_write)
        _run(launch.command, source)
    os.set_inheritable(error_write, False)
    os.execvpe(launch.command[0], list(launch.command), dict(launch.env))


def is_script(command: Sequence[str]) -> bool:
    """Tell whether a command is `python SCRIPT …` with this interpreter and no options for it."""
    return len(command) > 1 and command[0] == sys.executable and command[1].endswith(".py")


def _be_first_to_go() -> None:
    """Have the kernel kill this process first when the machine runs out of memory."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as adjust:
        adjust.write("1000")


def _place(files: list[int]) -> int:
    """Make the files descriptors 0, 1, …, close all others, and return how many they are."""
    high = [os.dup2(number, ASIDE + place, inheritable=False) for place, number in enumerate(files)]
    os.closerange(0, ASIDE)
    os.closerange(ASIDE + len(files), OPEN_FILES)
    for place, number in enumerate(high):
        os.dup2(number, place)
        os.close(number)
    return len(files)


def _run(command: Sequence[str], source: bytes) -> None:
    """Run the source as `python SCRIPT …` would: as `__main__`, with the interpreter's own way to end."""
    script = command[1]
    main = sys.modules["__main__"]
    main.__dict__.update(__file__=script, __builtins__=__builtins__, __cached__=None)
    sys.argv = list(command[1:])
    sys.path.insert(0, os.path.dirname(os.path.abspath(script)))
    sys.dont_write_bytecode = bool(os.environ.get("PYTHONDONTWRITEBYTECODE"))
    code = 0
    try:
        exec(_compiled.get((script, source)) or compile(source, script, "exec"), main.__dict__)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if code and not isinstance(end.code, int):
            sys.stderr.write(f"{end.code}\n")
    except BaseException as error:
        code = 1
        trace = error.__traceback__
        traceback.print_exception(error.with_traceback(trace.tb_next if trace else None))
    try:
        threading._shutdown()  # type: ignore[attr-defined]  # as the interpreter does at its end
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        traceback.print_exc()
        code = code or 120
    os._exit(code & 0xFF)
