"""The numbers that a program prints, read from its text: their labels, and the patterns that find them. Pure.

Python is parsed; of other languages, calls that print are read by their strings. What a program prints is only known
for sure when it has run: `mesh check` runs it.
"""

import ast
import re
from collections.abc import Iterator
from itertools import pairwise

import msgspec

from mesh.python_syntax import parse_python

PRINTED_FORM = r"([-+]?inf|nan|[-+\d.eE]+)"
"""A number as programs print it; the pattern of a score needs one group."""

_HOLE = "\0"
_PERCENT = re.compile(r"%[-+ 0#]*[\d*]*(?:\.[\d*]+)?(?:l|ll|z|h|j)?[diufFeEgGsvxp]")
_BRACES = re.compile(r"[$#]\{[^{}]*\}|\{[\w.:!<>^+#?$*=\[\]-]*\}|\$\([^()]*\)|\$\w+")
_PRINTS = {"print", "info", "warning", "write", "echo", "log", "debug", "error", "secho", "pprint"}
_LOGS = {"info", "warning", "debug", "error", "log"}
_TABLES = {"classification_report", "confusion_matrix", "multilabel_confusion_matrix", "crosstab", "DataFrame"}
"""Calls whose result is a table and not a number."""
_CALL = re.compile(
    r"\b(?:f?printf|println!?|print!?|console\.log|puts|echo|std::cout|cout|std::println|fmt\.Print\w*|cat|message|"
    r"System\.out\.print\w*|Console\.Write\w*|io\.write|say|writeln!?)\b[^\n;]{0,20}?(?=[\"'`])"
)
_STRING = re.compile(r'"((?:[^"\\\n]|\\.)*)"|\'((?:[^\'\\\n]|\\.)*)\'|`((?:[^`\\]|\\.)*)`')
_CODE = (".c", ".h", ".cc", ".cpp", ".cxx", ".cu", ".rs", ".go", ".js", ".mjs", ".cjs", ".ts", ".sh", ".R", ".r", ".jl",
         ".rb", ".java", ".cs", ".php", ".pl", ".lua", ".zig", ".swift", ".kt", ".f90")  # fmt: skip
_LABEL = re.compile(r"([A-Za-z][\w@./-]*(?:[ ()-]+[\w@./%-]+)*)[\"')]*\s*(:=|[:=]|->|→|is)?\s*[\"']?\s*$")
_UNIT = re.compile(r"\s*(ms|us|µs|ns|s|sec|secs|seconds|milliseconds|minutes|%)\b")
_UNITS = {"milliseconds": "ms", "µs": "us", "sec": "s", "secs": "s", "seconds": "s"}


class PrintedNumber(msgspec.Struct, frozen=True):
    """A number that a program prints.

    Attributes:
        name: a name for it, made of its label and unit, such as `test_accuracy` or `time_ms`.
        shown: the beginning of its line, as a person reads it.
        pattern: a regular expression with one group around the number.
        file: the file that prints it.
        line: and the line.
        key: its key, where it stands in a JSON object; else "".
        in_loop: whether a loop prints it, so that it is rather progress than a result.
        is_clear: whether a colon or an equals sign stands between label and number.
    """

    name: str
    shown: str
    pattern: str
    file: str
    line: int
    key: str = ""
    in_loop: bool = False
    is_clear: bool = True


def printed_numbers(file: str, text: str) -> list[PrintedNumber]:
    """Return the numbers that a file prints, in the order of its lines."""
    if file.endswith(".py"):
        try:
            tree = parse_python(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return []
        found = [each for call in _calls(tree) for each in _of_call(file, tree, *call)]
    elif file.endswith(_CODE):
        found = [each for line, template in _templates(text) for each in _of_template(file, line, template)]
    else:
        return []
    return list({(each.name, each.pattern): each for each in reversed(found)}.values())[::-1]


def named_pattern(name: str) -> str:
    """Return the pattern for a number that is printed behind its name."""
    words = r"[ _-]".join(map(re.escape, re.split(r"[ _-]+", name)))
    return rf"(?i)(?<![\w]){words}[\"']?\s*[:=]?\s*{PRINTED_FORM}"


def _calls(tree: ast.AST) -> Iterator[tuple[ast.Call, bool]]:
    """Yield the calls that print, with whether a loop does it; in the order of their lines."""
    found: list[tuple[ast.Call, bool]] = []

    def visit(node: ast.AST, in_loop: bool) -> None:
        if isinstance(node, ast.Call) and _callee(node) in _PRINTS and node.args:
            found.append((node, in_loop))
        inside = in_loop or isinstance(node, ast.For | ast.While | ast.AsyncFor)
        for child in ast.iter_child_nodes(node):
            visit(child, inside)

    visit(tree, in_loop=False)
    yield from sorted(found, key=lambda each: each[0].lineno)


def _of_call(file: str, tree: ast.AST, call: ast.Call, in_loop: bool) -> Iterator[PrintedNumber]:
    args = [arg for arg in call.args if not isinstance(arg, ast.Starred)]
    keys = _json_keys(tree, args[0]) if args else []
    for key in keys:
        name = _slug(key)
        if name:
            pattern = rf'"{re.escape(key)}"\s*:\s*{PRINTED_FORM}'
            yield PrintedNumber(name, f'{{"{key}": …}}', pattern, file, call.lineno, key, in_loop)
    if keys:
        return
    if _callee(call) in _LOGS and _logs_to_file(tree):
        return
    template = " ".join(map(_template, args))
    if _callee(call) in _LOGS and len(args) > 1:  # info("loss %s", loss)
        template = _PERCENT.sub(_HOLE, _template(args[0]))
    if template.strip() == _HOLE and len(args) == 1:
        value = args[0]
        while isinstance(value, ast.Call) and value.args and _callee(value) not in _TABLES:  # round(x, 3), float(x)
            value = value.args[0]
        if isinstance(value, ast.JoinedStr):
            value = next(each.value for each in value.values if isinstance(each, ast.FormattedValue))
        name = getattr(value, "id", getattr(value, "attr", ""))
        if name:
            yield PrintedNumber(_slug(name) or "score", "a line with a number alone", rf"^\s*{PRINTED_FORM}\s*$", file,
                                call.lineno, "", in_loop)  # fmt: skip
        return
    for found in _of_template(file, call.lineno, template):
        yield msgspec.structs.replace(found, in_loop=in_loop)


def _logs_to_file(tree: ast.AST) -> bool:
    """Tell whether a program sends what it logs into a file, and not to its output."""
    return any(
        isinstance(node, ast.Call)
        and _callee(node) == "basicConfig"
        and any(each.arg == "filename" for each in node.keywords)
        for node in ast.walk(tree)
    )


def _callee(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _template(node: ast.AST) -> str:
    """Return what a printed expression is: its text, with a hole for each value."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=values):
            return "".join(_template(each) for each in values)
        case ast.BinOp(op=ast.Mod(), left=ast.Constant(value=str(text))):
            return _PERCENT.sub(_HOLE, text)
        case ast.BinOp(op=ast.Add(), left=left, right=right):
            return _template(left) + _template(right)
        case ast.Call(func=ast.Attribute(value=ast.Constant(value=str(text)), attr="format")):
            return _BRACES.sub(_HOLE, text)
        case _:
            return _HOLE


def _json_keys(tree: ast.AST, node: ast.AST) -> list[str]:
    """Return the keys of the dictionary that `json.dumps(…)` or the name of a dictionary prints."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "dumps" and node.args:
        node = node.args[0]
    elif isinstance(node, ast.Call):
        return []
    if isinstance(node, ast.Name):
        found = [
            each.value
            for each in ast.walk(tree)
            if isinstance(each, ast.Assign)
            and isinstance(each.value, ast.Dict)
            and any(getattr(target, "id", "") == node.id for target in each.targets)
        ]
        node = found[-1] if found else node
    if not isinstance(node, ast.Dict):
        return []
    return [key.value for key in node.keys if isinstance(key, ast.Constant) and isinstance(key.value, str)]


def _templates(text: str) -> Iterator[tuple[int, str]]:
    """Yield the line and the template of each statement that prints, in a language that is not Python."""
    for call in _CALL.finditer(text):
        end = min(each for each in (text.find(";", call.end()), text.find("\n", call.end()), call.end() + 400)
                  if each >= 0)  # fmt: skip
        while text[call.end() : end].count('"') % 2 and end < len(text) and text[end] == ";":
            end = text.find("\n", end) if text.find("\n", end) >= 0 else len(text)
        part = text[call.end() : end]
        strings = list(_STRING.finditer(part))
        if not strings:
            continue
        template, last = "", 0
        for string in strings:
            between = part[last : string.start()]
            template += _HOLE if template and re.search(r"\w", between) else ""
            body = next(each for each in string.groups() if each is not None)
            template += (
                _BRACES.sub(_HOLE, _PERCENT.sub(_HOLE, body))
                .replace("\\n", "\n")
                .replace("\\t", "\t")
                .replace('\\"', '"')
            )
            last = string.end()
        rest = part[last:]
        if _HOLE not in template and re.search(r"(?:<<|,|\+|\.)\s*[\w(]", rest):
            template += _HOLE
        yield text.count("\n", 0, call.start()) + 1, template


def _of_template(file: str, line: int, template: str) -> Iterator[PrintedNumber]:
    parts = template.split(_HOLE)
    for before, after in pairwise(parts):
        label = _LABEL.search(re.split(r"[|,;\n\t\]\[{}]", before)[-1])
        if not label:
            continue
        words = label[1].strip(" -()\"'").split()[-4:]
        if label[2] not in (":", "=", ":="):
            words = [word for word in words if word.lower() not in ("is", "of", "was", "at", "in", "the", "=")][-2:]
        text = " ".join(words)
        if not text or not (name := _slug(text)):
            continue
        unit = _UNIT.match(after)
        short = _UNITS.get(unit[1], unit[1]) if unit else ""
        if short and short != "%" and not re.search(rf"(^|_){short}(_|$)", name):
            name = f"{name}_{short}"
        is_key = f'"{text}"' in before.replace("\\", "")
        words_to = re.escape(text).replace(r"\ ", r"\s+" if "  " in before else " ")
        quote = "[\"']?" if re.search(r"[\"']\s*(?::=|[:=])?\s*[\"']?\s*$", before) else ""
        pattern = rf"\b{words_to}{quote}" + (rf"\s*{label[2]}" if label[2] else "") + rf"\s*{quote}{PRINTED_FORM}"
        shown = f"{text}{label[2] if label[2] in (':', '=') else ''} …{f' {unit[1]}' if unit else ''}"
        yield PrintedNumber(
            name, shown, pattern, file, line, text if is_key else "", is_clear=label[2] in (":", "=", ":=")
        )


def _slug(label: str) -> str:
    return re.sub(r"[^\w@.]+", "_", re.sub(r"/(?=s(?:ec|econd)?\b)", "_per_", label)).strip("_.").lower()[:60]
