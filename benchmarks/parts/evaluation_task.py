"""A task of OpenEvolve with four knobs, whose evaluation takes as long as is wanted."""

PROGRAM = """\
A = 0.5
B = 1.5
C = 2.5
D = 3.5


def found():
    return [A, B, C, D]
"""
EVALUATOR = """
import importlib.util
import time


def evaluate(program_path):
    begin = time.monotonic()
    spec = importlib.util.spec_from_file_location("program", program_path)
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    time.sleep({seconds})
    far = sum((x - 1.0) ** 2 for x in program.found())
    return {{"combined_score": 1 / (1 + far), "begin": begin, "end": time.monotonic()}}
"""


def task(seconds: float) -> dict[str, str]:
    """Return the files of a task whose evaluation takes this long."""
    return {"initial_program.py": PROGRAM, "evaluator.py": EVALUATOR.format(seconds=seconds)}
