"""Knobs: the values of the editable files that samplers may change, wherever they stand.

A knob is a literal: a constant, a keyword default, a field, a number inside of a call or an expression, a word of a
known set. `mesh.literals` finds the literals of a file by its language, `mesh.knob_ranges` gives them ranges. A file
that marks its editable region has knobs there alone.

An author who gives ranges (`# mesh: 1e-4..3e-2 log`) says by that which values are knobs: then the other ones are only
the module-level constants in capitals, with a guessed range. Without such comments every literal that is worth a
trial is a knob, unless its name says that it sets the task. `[knobs]` in `arena.toml` changes both. Seeds and what
judges are never knobs. An edit replaces only the literal; every other byte of the file stays.
"""

import difflib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress

from msgspec.structs import replace

from mesh import knob_ranges
from mesh.events import Scalar
from mesh.knob import Knob as Knob
from mesh.literals import language_of, literals_of, replace_literals
from mesh.source_literal import NEVER, SourceLiteral
from mesh.spec import KnobsSpec

NEAR = 0.01
"""Near duplicates differ by less than this share of each knob's range."""

_FINER = 0.02
"""Fractions whose range is a guess are told apart at this share of it: a guessed range is much wider than the gain."""

_UNTIED = (b"0", b"1", b"2", b"-1", b"0.0", b"1.0")
_MESH = "mesh:"
_SEED = re.compile("SEED|RANDOM_STATE")
_TASK = re.compile(
    r"(test|train|val|valid|validation|holdout|eval)_?(size|fraction|frac|ratio|split|share)|"
    r"(n_?|num_)?(splits|folds)|k_?folds?|cv|(n_|num_)?rep(eat|etition)?s?",
    re.IGNORECASE,
)
"""What sets the task: the share of the test, and how often something is measured."""
_EVERY = KnobsSpec()


def knobs_of(
    files: Mapping[str, bytes],
    editable: Sequence[str],
    rules: KnobsSpec = _EVERY,
    *,
    base: Mapping[str, bytes] | None = None,
) -> list[Knob]:
    """Return the knobs of the editable files whose language is known, in the order of the files and their lines.

    Files that are not UTF-8 have none, so no edit damages them.

    Args:
        files: Contents by path.
        editable: The paths of the files that may be edited.
        rules: Which literals are knobs, as `[knobs]` in `arena.toml` says.
        base: The baseline's files. Where they have a literal, their comment about it counts, not that of `files`, which
            may be of an earlier version; by default the files' own comments count.
    """
    sources: dict[str, str] = {}
    for name in editable:
        if language_of(name) and name in files:
            with suppress(UnicodeDecodeError):
                sources[name] = files[name].decode()
    return _knobs(sources, rules, base or {})


def literal_values(file: str, data: bytes) -> dict[str, Scalar]:
    """Return the values of all literals of a file by their names, knobs or not; none if it cannot be read."""
    try:
        return {literal.name: literal.value for literal in literals_of(file, data.decode())}
    except UnicodeDecodeError:
        return {}


def find_knobs(file: str, source: str, rules: KnobsSpec = _EVERY) -> list[Knob]:
    """Return the knobs of a file in the order of their lines; none if it does not parse."""
    return _knobs({file: source}, rules, {})


def _knobs(sources: Mapping[str, str], rules: KnobsSpec, base: Mapping[str, bytes]) -> list[Knob]:
    literals = {
        file: _as_commented(literals_of(file, source), source, file, base.get(file)) for file, source in sources.items()
    }
    is_wide = rules.literals
    if is_wide == "auto":
        is_wide = not any(_has_range(literal) for each in literals.values() for literal in each)
    return [
        knob
        for file, found in literals.items()
        for knob in _knobs_of_file(file, sources[file].encode(), found, rules, is_wide=is_wide)
    ]


def _as_commented(
    literals: Sequence[SourceLiteral], source: str, file: str, base: bytes | None
) -> Sequence[SourceLiteral]:
    """Return the literals with the comments that the baseline has about them."""
    if base is None or source.encode() == base:
        return literals
    try:
        comments = {each.name: each.comment for each in literals_of(file, base.decode())}
    except UnicodeDecodeError:
        return literals
    return [replace(each, comment=comments.get(each.name, each.comment)) for each in literals]


def _knobs_of_file(
    file: str, data: bytes, literals: Sequence[SourceLiteral], rules: KnobsSpec, *, is_wide: bool
) -> list[Knob]:
    times = Counter(literal.name for literal in literals)
    constants = Counter(literal.name.removesuffix("[0]") for literal in literals if literal.is_named)
    ties = _ties(data, literals) if is_wide else {}
    turned = {_line(data, literal) for literal in literals if not literal.excluded and _MESH in literal.comment}
    found: list[Knob] = []
    for literal in literals:
        if times[literal.name] > 1 or (literal.is_named and constants[constant_of(literal.name)] > 1):
            continue
        is_commented = not literal.excluded or (_MESH in literal.comment and _line(data, literal) not in turned)
        knob = _knob(file, literal, rules, is_wide=is_wide, is_commented=is_commented)
        if knob:
            found.append(replace(knob, tie=ties.get(literal.name, ())))
    return found


def _knob(file: str, literal: SourceLiteral, rules: KnobsSpec, *, is_wide: bool, is_commented: bool) -> Knob | None:
    """Return the knob of a literal, None if it is none.

    Args:
        file: The path of its file.
        literal: The literal.
        rules: What `[knobs]` says.
        is_wide: Whether literals without a comment are knobs.
        is_commented: Whether a comment of the line is about this literal.
    """
    if literal.excluded in NEVER or (literal.is_named and _SEED.search(literal.name)):
        return None
    if matches(rules.exclude, file, literal.name):
        return None
    both = (literal.name, f"{file}:{literal.name}")
    is_asked = any(name in rules.include or name in rules.bounds for name in both)
    if rules.include and not matches(rules.include, file, literal.name):
        return None
    comment = knob_ranges.comment_of(literal.comment) if is_commented else ""
    if (literal.excluded or _sets_task(literal.name)) and not is_asked and not comment:
        return None
    bounds = [text for pattern, text in rules.bounds.items() if matches((pattern,), file, literal.name)]
    if given := knob_ranges.given_range(bounds[-1] if bounds else comment):
        return knob_ranges.given_knob(file, literal, given)
    if literal.is_named and (knob := knob_ranges.guessed_constant(file, literal.name, literal.value)):
        return knob
    return knob_ranges.guessed_literal(file, literal) if is_wide or rules.include else None


def _sets_task(name: str) -> bool:
    last = re.sub(r"(\[\d+\]|#\d+)+$", "", name).rpartition(".")[2]
    return _TASK.fullmatch(last.replace("-", "_")) is not None


def _line(data: bytes, literal: SourceLiteral) -> int:
    return data.count(b"\n", 0, literal.start)


def _has_range(literal: SourceLiteral) -> bool:
    given = knob_ranges.given_range(knob_ranges.comment_of(literal.comment))
    return given is not None and not given.is_fixed


def _ties(data: bytes, literals: Sequence[SourceLiteral]) -> dict[str, tuple[str, ...]]:
    """Return the names of the equal numbers of each function, by each of the names."""
    groups: dict[tuple[str, bytes], list[str]] = {}
    for literal in literals:
        is_number = isinstance(literal.value, int | float) and not isinstance(literal.value, bool)
        text = data[literal.start : literal.end]
        is_free = literal.excluded in ("", "range") and not literal.unit and text not in _UNTIED
        if is_number and literal.scope and is_free:
            groups.setdefault((literal.scope, text), []).append(literal.name)
    return {name: tuple(names) for names in groups.values() if len(names) > 1 for name in names}


def matches(patterns: Sequence[str], file: str, name: str) -> bool:
    """Tell whether a name, alone or with its file, fits a pattern: `*` stands for any text, `?` for one character."""
    for pattern in patterns:
        words = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
        if re.fullmatch(words, name) or re.fullmatch(words, f"{file}:{name}"):
            return True
    return False


def range_faults(files: Mapping[str, bytes], editable: Sequence[str], rules: KnobsSpec = _EVERY) -> list[str]:
    """Return one sentence for each range, of a comment or of `[knobs] bounds`, that says nothing.

    Args:
        files: Contents by path.
        editable: The paths of the files that may be edited.
        rules: What `[knobs]` in `arena.toml` says.
    """
    said: list[str] = []
    for pattern, text in rules.bounds.items():
        given = knob_ranges.given_range(text)
        fault = given.fault if given else "write a range such as 1e-4..1e-1 log, choices a b, or fixed"
        if fault:
            said.append(f'knobs.bounds gives {pattern} the range "{text}", which says nothing: {fault}')
    for file in editable:
        with suppress(UnicodeDecodeError):
            source = files.get(file, b"").decode()
            for literal, text, fault in knob_ranges.faults(literals_of(file, source)):
                line = source.encode()[: literal.start].count(b"\n") + 1
                said.append(f'{file}:{line} gives {literal.name} the range "{text}", which says nothing: {fault}')
    return said


def unmatched_rules(files: Mapping[str, bytes], editable: Sequence[str], rules: KnobsSpec) -> list[str]:
    """Return one sentence for each name or pattern of `[knobs]` that fits no literal of the editable files.

    Args:
        files: Contents by path.
        editable: The paths of the files that may be edited.
        rules: What `[knobs]` in `arena.toml` says.
    """
    patterns = [("include", rules.include), ("exclude", rules.exclude), ("bounds", tuple(rules.bounds))]
    if not any(names for _, names in patterns):
        return []
    known = [(file, name) for file in editable if file in files for name in literal_values(file, files[file])]
    said: list[str] = []
    for key, names in patterns:
        for pattern in names:
            if any(matches((pattern,), file, name) for file, name in known):
                continue
            words = {form: None for file, name in known for form in (name, f"{file}:{name}")}
            near = difflib.get_close_matches(pattern, list(words), n=1, cutoff=0.5)
            cure = f"did you mean {near[0]}?" if near else f"names are such as {', '.join(list(words)[::2][:3])}"
            none = f"{', '.join(editable)} {'has' if len(editable) == 1 else 'have'} no literal"
            said.append(
                f"knobs.{key} names {pattern}, which fits no literal of the artifact; {cure if known else none}"
            )
    return said


def steady(knobs: Sequence[Knob], first: Sequence[Knob]) -> list[Knob]:
    """Return the knobs with the guessed ranges that they had in `first`.

    A guessed range depends on the value. If it followed every value, no two proposals would share a search space. So
    it changes only for a value near the end of the old range.

    Args:
        knobs: The knobs of the present code.
        first: The knobs of the baseline.
    """
    before = {(knob.file, knob.name): knob for knob in first}
    return [_as_before(knob, before.get((knob.file, knob.name))) for knob in knobs]


def _as_before(knob: Knob, first: Knob | None) -> Knob:
    if first is None or not (knob_ranges.is_guess(knob) and knob_ranges.is_guess(first)) or knob.is_int != first.is_int:
        return knob
    assert isinstance(knob.value, int | float)
    inside = first.low <= knob.value <= first.high and 0.1 < first.place(knob.value) < 0.9
    return replace(first, value=knob.value, tie=knob.tie) if inside or knob.value == first.value else knob


def are_near(
    knobs: Sequence[Knob],
    one: Mapping[tuple[str, str], Scalar],
    other: Mapping[tuple[str, str], Scalar],
    share: float = NEAR,
) -> bool:
    """Tell whether two sets of values differ only in numbers, each by less than a share of its knob's range.

    Args:
        knobs: The knobs to compare, with their ranges.
        one: Values by file and name of the knob.
        other: The values to compare with.
        share: A share of the range, 0 to 1.
    """
    return all(
        _is_near(knob, one.get((knob.file, knob.name)), other.get((knob.file, knob.name)), share) for knob in knobs
    )


def _is_near(knob: Knob, a: Scalar | None, b: Scalar | None, share: float) -> bool:
    if knob.choices or not isinstance(a, int | float) or not isinstance(b, int | float):
        return a == b
    if knob.step and not knob.is_int:
        share *= _FINER
    return a == b or abs(knob.place(a) - knob.place(b)) < share


def constant_of(name: str) -> str:
    """Return the name of a knob's constant: of `BETAS[0]` it is `BETAS`."""
    return name.partition("[")[0]


def edit(source: str, values: Mapping[str, Scalar], file: str = "x.py") -> str:
    """Return `source` with the named literals replaced; every other byte stays.

    Args:
        source: The text of the file.
        values: New values by the name of the knob.
        file: The name of the file, whose suffix says its language.

    Raises:
        KeyError: A literal does not exist.
    """
    return replace_literals(file, source, values)
