"""Starting a held process: fork, wait to be told what to become, hold, then become it.

The fork comes first, so that it can be there before there is anything to run. A command `python SCRIPT …` can be run
in the fork itself (`warm`), where what this process has imported is there already: torch takes seconds to import.
Anything else is executed afresh. The standard library alone.
"""

import atexit
import contextlib
import functools
import json
import os
import random
import signal
import sys
import threading
import traceback
import types
from collections.abc import Sequence
from typing import Any

from gpu_worker.sandbox import kernel
from gpu_worker.sandbox.contain import Policy, Unheld, contain

OPEN_FILES, ASIDE = 1024, 200
"""Descriptors below the first are closed; those that stay are meanwhile put at the second and following."""


class NotStarted(Exception):
    """Why a process could not be started: `why` is `start` (its command) or `sandbox` (this machine)."""

    def __init__(self, why: str, text: str) -> None:
        super().__init__(text)
        self.why, self.text = why, text


class Ahead:
    """A process that is forked and waits for its launch; it dies with its parent.

    `files` become its descriptors 0, 1 and 2, and `also` 3 and following, if its launch wants them.
    """

    def __init__(self, files: Sequence[int], also: Sequence[int] = ()) -> None:
        order, self._order = os.pipe()
        self._told, tell = os.pipe()
        parent = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                end = _place([*files, *also, order, tell])
                _await_launch(end - 2, end - 1, 3 + len(also), parent)
            finally:
                os._exit(127)
        os.close(order)
        os.close(tell)

    def become(self, launch: dict[str, Any], *, also: bool = False) -> int:
        """Become `{"command", "env", "cwd", "policy", "warm"}`; return the process id once its program begins.

        Raises:
            NotStarted: it cannot be held, or its program cannot be run.
        """
        with open(self._order, "w") as order:
            json.dump([launch, also], order)
        with open(self._told, "rb") as words:
            said = words.read(4096).decode(errors="replace")
        if said:
            os.waitpid(self.pid, 0)
            why, _, text = said.partition(":")
            raise NotStarted(why, text)
        return self.pid


def _await_launch(order: int, tell: int, used: int, parent: int) -> None:
    """Get ready, wait for the launch and become it; what hinders that is told."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    os.setsid()
    die_with(parent)
    _be_first_to_go()
    _look_fresh()
    with open(order, "rb") as words:
        said = words.read()
    if not said:
        return
    launch, also = json.loads(said)
    if not also:
        os.closerange(3, used)
    try:
        _become(launch, tell)
    except Unheld as error:
        os.write(tell, f"sandbox:{error}".encode())
    except OSError as error:
        os.write(tell, f"start:{error.strerror}: {error.filename}".encode())
    except BaseException as error:
        os.write(tell, f"start:{error!r}".encode())


@functools.cache
def own_modules() -> tuple[str, ...]:
    """Return what no trial shall find imported. Ask before forking: a look at every name costs a fork 650 pages."""
    return tuple(name for name in sys.modules if name.partition(".")[0] == "gpu_worker")


def _look_fresh() -> None:
    """Hide what this process has been so far, and draw new seeds; all that can be done before the launch is known."""
    for name in own_modules():
        del sys.modules[name]
    sys.modules["__main__"] = types.ModuleType("__main__")
    inside = tuple(os.path.join(prefix, "") for prefix in (sys.prefix, sys.base_prefix))
    sys.path[:] = [path for path in sys.path if path.startswith(inside)]
    random.seed()
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed()


def _become(launch: dict[str, Any], tell: int) -> None:
    command: list[str] = launch["command"]
    os.chdir(launch["cwd"])
    contain(Policy.of(launch["policy"]) if launch.get("policy") else Policy())
    os.chdir(launch["cwd"])  # the folder as it now is: mounts may have changed
    if launch.get("warm") and is_script(command):
        os.environ.clear()
        os.environ.update(launch["env"])
        with open(command[1], "rb") as file:
            source = file.read()
        os.close(tell)
        _run(command, source)
    os.set_inheritable(tell, False)
    os.execvpe(command[0], command, launch["env"])


def is_script(command: Sequence[str]) -> bool:
    """Tell whether a command runs a script in this very interpreter, without options for it."""
    return len(command) > 1 and command[0] == sys.executable and command[1].endswith(".py")


def die_with(parent: int) -> None:
    """Die when the parent does; where it has died already, now."""
    if sys.platform == "linux":
        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(127)


def live_on() -> None:
    """Take `die_with` back: whoever has something to end first looks after its parent itself."""
    if sys.platform == "linux":
        kernel.prctl(kernel.PR_SET_PDEATHSIG, 0)


def _be_first_to_go() -> None:
    """Be what the kernel kills when the machine's memory runs out."""
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
    """Be `python SCRIPT …`: run the source as `__main__`, and end as the interpreter would."""
    script = command[1]
    main = sys.modules["__main__"]
    main.__dict__.update(__file__=script, __builtins__=__builtins__, __cached__=None)
    sys.argv = list(command[1:])
    sys.path.insert(0, os.path.dirname(os.path.abspath(script)))
    code = 0
    try:
        exec(compile(source, script, "exec"), main.__dict__)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if code and not isinstance(end.code, int):
            sys.stderr.write(f"{end.code}\n")
    except BaseException as error:
        code = 1
        trace = error.__traceback__
        traceback.print_exception(error.with_traceback(trace.tb_next if trace else None))
    try:
        threading._shutdown()  # type: ignore[attr-defined]  # what the interpreter does at its end: wait, then clean up
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        traceback.print_exc()
        code = code or 120
    os._exit(code & 0xFF)
