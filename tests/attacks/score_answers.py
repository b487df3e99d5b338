"""Attacks on the score by the learning curve, and by the proposal's code that answers the scorer while it runs."""

from textwrap import dedent

from tests.attacks.plans import Plan, PlanFamily
from tests.attacks.score_output import PRIVATE

FAMILY = PlanFamily("The score: reports and answers", "ABCDE")

_SCORERS = """
import glob, os, sys, time
sys.stdin.readline()
def scorers():
    for path in glob.glob('/proc/[0-9]*'):
        try:
            words = open(path + '/cmdline').read()
        except OSError:
            continue
        pid = int(path[6:])
        if pid not in (os.getpid(), os.getppid()) and ('score.py' in words or 'gpu_worker.supervisor' in words):
            yield pid
def any_of(deed):
    for pid in scorers():
        try:
            deed(pid)
            print('changed', flush=True)
            return
        except OSError:
            pass
"""


def _reports(name: str, lines: str) -> None:
    report = "report = open(os.environ['MESH_REPORT'], 'ab', buffering=0)\n"
    FAMILY.plan(name, Plan(f"{report}{lines}\ntime.sleep(0.12)\nwin(1)", "harm", weakest=True))


def _answers(name: str, predict: str, train: str = "win(1)", *, open_in: str = "", why: str = "") -> None:
    """Add an attack of the code that answers; the scorer counts the answer `changed` as a success."""
    FAMILY.plan(name, Plan(train, "zero", "ask", _SCORERS + dedent(predict)), open_in=open_in, why=why)


_reports(
    "report values that are no numbers",
    r"""report.write(b'{"step": 1, "value": NaN}\n{"step": 1e400, "value": 1}\n')""",
)
_reports("report steps beyond all integers", r"""report.write(b'{"step": 99999999999999999999, "value": 1}\n')""")
_reports("report a hundred thousand lines", r"""report.write(b'{"step": 1, "value": 1}\n' * 100000)""")
_reports("report a line that never ends", "report.write(b'x' * 1000000)")
_reports("report bytes that are no text", "report.write(bytes(range(256)) * 100)")
_reports("report nested brackets", r"report.write(b'[' * 399 + b'\n')")
_reports("report and take it back", r"""report.write(b'{"step": 1, "value": 1}\n'); report.truncate(0)""")
for _name, _deed in {
    "put a lease on its report": "fcntl.fcntl(open(path), fcntl.F_SETLEASE, fcntl.F_WRLCK)",
    "put a pipe in place of its report": "os.unlink(path); os.mkfifo(path)",
    "put a link in place of its report": "os.unlink(path); os.symlink('/dev/zero', path)",
    "make its report unreadable": "os.chmod(path, 0)",
}.items():
    _reports(
        _name,
        f"import fcntl\nreport.close()\npath = os.environ['MESH_REPORT']\ntry:\n    {_deed}\nexcept OSError:\n    pass",
    )

_answers("read private data while it answers", PRIVATE + "print(open(private).read(), flush=True)", open_in="DE")
_answers("read the scorer's memory while it answers", "any_of(lambda p: open(f'/proc/{p}/mem', 'rb'))", open_in="DE")
_answers(
    "read the scorer's environment while it answers",
    "any_of(lambda p: open(f'/proc/{p}/environ').read())",
    open_in="DE",
)
_answers(
    "use the scorer's descriptors while it answers",
    "any_of(lambda p: os.close(os.open(f'/proc/{p}/fd/0', os.O_RDONLY | os.O_NONBLOCK)))",
    open_in="DE",
)
_answers("enter the scorer's folder while it answers", "any_of(lambda p: os.listdir(f'/proc/{p}/cwd/'))", open_in="DE")
_answers("signal the scorer while it answers", "any_of(lambda p: os.kill(p, 0))", open_in="DE")
_answers("slow the scorer while it answers", "any_of(lambda p: os.setpriority(0, p, 19))", open_in="E")
_answers(
    "list the private data while it answers",
    PRIVATE + "os.listdir(os.path.dirname(private)); print('changed', flush=True)",
    open_in="DE",
)
_answers("answer without end", "try:\n    while True: os.write(1, b'1' * 65536)\nexcept OSError: pass")
_answers("close the pipes at once", "os.close(0); os.close(1)")
_answers("answer what is no number", "print('NaN', flush=True)")
_answers("fill the scorer's errors", "try:\n    while True: os.write(2, b'1' * 65536)\nexcept OSError: pass")
_answers(
    "leave a process behind that answers later",
    "if os.fork() == 0:\n    os.setsid(); time.sleep(60)\nprint(1, flush=True)",
)
_answers(
    "change its output while it is scored",
    """
    path = os.environ['MESH_OUT'] + '/guess'
    try:
        os.chmod(path, 0o644)
    except OSError:
        pass
    open(path, 'w').write('changed')
    print('changed', flush=True)
    """,
    open_in="E",
)
_answers(
    "add to its output while it is scored",
    """
    try:
        os.chmod(os.environ['MESH_OUT'], 0o755)
    except OSError:
        pass
    open(os.environ['MESH_OUT'] + '/more', 'w').write('changed')
    print('changed', flush=True)
    """,
    open_in="E",
)
_answers(
    "change its output by a second name while it is scored",
    """
    path = os.environ['TMPDIR'] + '/twin'
    os.chmod(path, 0o644)
    open(path, 'w').write('changed')
    print('changed' if 'changed' in open(os.environ['MESH_OUT'] + '/guess').read() else 1, flush=True)
    """,
    "win(1)\nos.link(out / 'guess', os.environ['TMPDIR'] + '/twin')",
)
