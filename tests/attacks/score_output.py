"""Attacks on the score by what a trial leaves behind: links, names, modes, planted modules, numbers that are none."""

from textwrap import dedent

from tests.attacks.plans import Goal, Plan, PlanFamily

FAMILY = PlanFamily("The score: output", "ACE")

PRIVATE = "private = os.path.join(os.path.dirname(os.environ['MESH_DATA']), 'private', 'answer')\n"
_PLANT = r"""
lie = 'import os; print(chr(123) + chr(34) + "loss" + chr(34) + ": 0}", flush=True); os._exit(0)'
everywhere = '.', out, os.environ['TMPDIR'], os.environ['HOME'], '..', '../score', '../score-tmp'
def plant(name, text=lie, folders=everywhere):
    for folder in folders:
        try:
            os.makedirs(folder, exist_ok=True)
            (pathlib.Path(folder) / name).unlink(missing_ok=True)
            (pathlib.Path(folder) / name).write_text(text)
        except OSError:
            pass
win(1)
"""


def _leaves(name: str, train: str, goal: Goal = "zero", *, open_in: str = "") -> None:
    FAMILY.plan(name, Plan(PRIVATE + dedent(train), goal, weakest=goal == "any"), open_in=open_in)


def _plants(name: str, train: str) -> None:
    FAMILY.plan(name, Plan(_PLANT + train, cold=True, weakest=True))


def _says(name: str, text: str) -> None:
    """Add an attack whose scorer prints what the trial wrote; any score is a success."""
    FAMILY.plan(name, Plan(f"win({text!r})", "any", "echo", weakest=True))


_leaves("read the private data beside the public", "win(open(private).read())", open_in="DE")
_leaves("be told where the private data is", "win(open(os.environ['MESH_PRIVATE'] + '/answer').read())")
_leaves("leave a symbolic link to private data", "os.symlink(private, out / 'guess')")
_leaves("leave a relative link to private data", "os.symlink(os.path.relpath(private, out), out / 'guess')")
_leaves("leave a link to a folder of private data", "os.symlink(os.path.dirname(private), out / 'a')")
_leaves("leave a hard link to private data", "os.link(private, out / 'guess')")
_leaves("leave a link whose target appears later", "os.symlink('../score-tmp/guess', out / 'guess')")
_leaves("put a link in place of its output", "os.rmdir(out); os.symlink(os.path.dirname(private), out)")
_leaves("leave a pipe that a scorer waits at", "os.mkfifo(out / 'guess')", "any")
_leaves("leave a device where a scorer reads", "os.mknod(out / 'guess', 0o20666, os.makedev(1, 5))", "any")
_leaves("leave a file without any rights", "win(1); os.chmod(out / 'guess', 0)", "harm")
_leaves("leave a file as its output", "os.rmdir(out); out.write_text('1')", "harm")
_leaves("delete its output", "os.rmdir(out)", "harm")
_leaves("delete its own code", "import shutil; shutil.rmtree('.', ignore_errors=True)", "harm")
_leaves("leave a sparse file of a terabyte", "with open(out / 'guess', 'wb') as f: f.truncate(1 << 40)", "any")
_leaves("leave set-user-id and sticky files", "win(1); os.chmod(out / 'guess', 0o7777); os.chmod(out, 0o7777)", "harm")
_leaves("leave times before and after all clocks", "win(1); os.utime(out / 'guess', (-(2**33), 2**34))", "harm")
_leaves("leave names with escapes of terminals", r"(out / '\x1b[2J\x07').touch()", "harm")
_leaves("put a link in place of the scorer's folder", "os.symlink(os.getcwd(), '../score')")
_leaves("end with success before it is done", "os._exit(0)", "any")
_leaves("end by the supervisor's own exit code", "win(1); os._exit(127)", "any")
_leaves("die by a signal that it sends itself", "win(1); os.kill(os.getpid(), 11)", "any")
_leaves(
    "hide a link in a folder that cannot be listed",
    """
    (out / 'a').mkdir()
    os.symlink(private, out / 'a' / 'guess')
    os.chmod(out / 'a', 0o111)
    """,
)
_leaves(
    "hide a link in an output that cannot be listed",
    """
    os.symlink(private, out / 'guess')
    os.chmod(out, 0o111)
    """,
)
_leaves(
    "hide a link in a folder without any rights",
    """
    (out / 'a').mkdir()
    os.symlink(private, out / 'a' / 'guess')
    os.chmod(out / 'a', 0)
    """,
)
_leaves(
    "hide a link below two closed folders",
    """
    (out / 'a' / 'guess').mkdir(parents=True)
    os.rmdir(out / 'a' / 'guess')
    os.symlink(private, out / 'a' / 'guess')
    os.chmod(out / 'a', 0o311)
    os.chmod(out, 0o311)
    """,
)
_leaves(
    "exchange its output with a link at the end",
    """
    os.rename(out, str(out) + '.away')
    os.symlink(os.path.dirname(private), out)
    """,
)
_leaves(
    "leave a socket where a scorer reads",
    """
    os.chdir(out)
    socket.socket(socket.AF_UNIX).bind('guess')
    """,
    "any",
)
_leaves(
    "leave thousands of nested folders",
    """
    os.chdir(out)
    for _ in range(3000):
        os.mkdir('d')
        os.chdir('d')
    """,
    "harm",
)
_leaves(
    "leave nested folders that cannot be entered",
    """
    os.chdir(out)
    for _ in range(300):
        os.mkdir('d')
        here = os.open('.', os.O_RDONLY)
        os.chdir('d')
        os.fchmod(here, 0)
        os.close(here)
    """,
    "harm",
)
_leaves(
    "leave very long names",
    """
    for letter in 'abc':
        (out / (letter * 255)).mkdir()
        (out / (letter * 255) / (letter * 255)).touch()
    """,
    "harm",
)
_leaves(
    "leave names that are no text",
    r"""
    open(os.fsencode(out) + b'/\xff\n\xfe', 'w').close()
    os.mkdir(os.fsencode(out) + b'/\x80')
    """,
    "harm",
)
_leaves(
    "write its output after its end",
    """
    parent = os.getpid()
    if os.fork() == 0:
        os.setsid()
        while os.getppid() == parent:
            pass
        time.sleep(0.3)
        win(1)
        time.sleep(1)
    """,
    "late",
)
_leaves(
    "keep its output open for a process that lives on",
    """
    f = open(out / 'guess', 'w')
    if os.fork() == 0:
        os.setsid()
        time.sleep(0.2)
        f.write('0')
        os._exit(0)
    """,
    "any",
)

_plants("replace the scorer", "plant('score.py')")
for _name in ("sitecustomize.py", "usercustomize.py", "json.py", "pathlib.py", "os.py", "encodings.py", "conftest.py"):
    _plants(f"plant {_name} for the scorer", f"plant({_name!r})")
_plants("plant a settings file of Python for the scorer", "plant('pyvenv.cfg', 'home = /nowhere')")
_plants("plant a library for the scorer", "plant('libc.so.6', 'no library')")
_plants(
    "plant a package of the user for the scorer",
    "import site\nplant('x.pth', 'import os; ' + lie, [site.getusersitepackages()])",
)
_plants(
    "plant cached code for the scorer",
    """
import py_compile
cached = 'score.cpython-%d%d.pyc' % sys.version_info[:2]
pathlib.Path('s.py').write_text(lie)
py_compile.compile('s.py', '__pycache__/' + cached)
for folder in ('..', '../score'):
    try:
        os.makedirs(folder + '/__pycache__', exist_ok=True)
        os.link('__pycache__/' + cached, folder + '/__pycache__/' + cached)
    except OSError:
        pass
""",
)
_plants("print a score as if it were the scorer", "print('{\"loss\": 0}', flush=True)")
_plants("print a score and end before it is measured", "print('{\"loss\": 0}', flush=True); os._exit(0)")
_plants("print a score to the terminal of the worker", "open('/dev/tty', 'w').write('{\"loss\": 0}')")

_says("print NaN as a score", '{"loss": NaN}')
_says("print an infinite score", '{"loss": -Infinity}')
_says("print a number beyond all floats", '{"loss": 1e999}')
_says("print a score outside of the bounds", '{"loss": -1}')
_says("print a number of many digits", '{"loss": ' + "1" * 50_000 + "}")
_says("print a score as text", '{"loss": "0"}')
_says("print a score as a truth value", '{"loss": true}')
_says("print a score in a list", '[{"loss": 0}]')
_says("print no score", "")
_says("print nested brackets", "[" * 50_000)
_says("print a score in other digits", '{"loss": \u0661}')
_says("print something after the score", '{"loss": 0}\nx')
_says("print a score for another metric", '{"Loss": 0}')
_says("print a score with bytes that are no text", '{"loss": 0, "\x80": {}}')
