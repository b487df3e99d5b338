"""Starting a held process: fork, hold, then become its program.

A command `python SCRIPT …` can be run in the fork itself (`warm`), where what this process has imported is there
already: torch takes seconds to import. Anything else is executed afresh. The standard library alone.
"""

import atexit
import contextlib
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


def start(launch: dict[str, Any], files: Sequence[int], *, also: Sequence[int] = ()) -> int:
    """Start `{"command", "env", "cwd", "policy", "warm"}` and return its process id once its program begins.

    `files` become its descriptors 0, 1 and 2, and `also` 3 and following.

    Raises:
        NotStarted: it cannot be held, or its program cannot be run.
    """
    told, tell = os.pipe()
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        try:
            tell = _place([*files, *also, tell])
            _become(launch, tell, parent)
        except Unheld as error:
            os.write(tell, f"sandbox:{error}".encode())
        except OSError as error:
            os.write(tell, f"start:{error.strerror}: {error.filename}".encode())
        except BaseException as error:
            os.write(tell, f"start:{error!r}".encode())
        finally:
            os._exit(127)
    os.close(tell)
    with open(told, "rb") as words:
        said = words.read(4096).decode(errors="replace")
    if said:
        os.waitpid(pid, 0)
        why, _, text = said.partition(":")
        raise NotStarted(why, text)
    return pid


def _become(launch: dict[str, Any], tell: int, parent: int) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    os.setsid()
    _die_with(parent)
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


def _die_with(parent: int) -> None:
    """Die with the parent, and be the first to go when the machine's memory runs out."""
    if sys.platform == "linux":
        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(127)
        with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as adjust:
            adjust.write("1000")


def _place(files: list[int]) -> int:
    """Make the files descriptors 0, 1, …, close all others, and return the number of the last."""
    high = [os.dup2(number, ASIDE + place, inheritable=False) for place, number in enumerate(files)]
    os.closerange(0, ASIDE)
    os.closerange(ASIDE + len(files), OPEN_FILES)
    for place, number in enumerate(high):
        os.dup2(number, place)
        os.close(number)
    return len(files) - 1


def _run(command: Sequence[str], source: bytes) -> None:
    """Be `python SCRIPT …`: run the source as `__main__`, and end as the interpreter would."""
    script = command[1]
    for name in [name for name in sys.modules if name.partition(".")[0] == "gpu_worker"]:
        del sys.modules[name]
    main = types.ModuleType("__main__")
    main.__dict__.update(__file__=script, __builtins__=__builtins__, __cached__=None)
    sys.modules["__main__"] = main
    sys.argv = list(command[1:])
    inside = tuple(os.path.join(prefix, "") for prefix in (sys.prefix, sys.base_prefix))
    sys.path[:] = [os.path.dirname(os.path.abspath(script)), *(path for path in sys.path if path.startswith(inside))]
    random.seed()
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed()
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
