"""What a version of an arena fixes, and whether a proposal keeps to it: the one rule of the opener, critic and authors.

A version fixes a literal that its author excludes: by a comment (`# mesh: fixed`), by `[knobs] bounds`, or by
`[knobs] exclude`. It bounds a literal whose range its author gives. It protects files that are not editable, and what
stands around the regions of those that are. What the baseline itself has is always allowed. `[knobs] include` says what
explorers search, so it fixes the other literals for what a sampler has turned, and not for what a model has written.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import msgspec

from mesh.editable_paths import editable_paths
from mesh.editable_regions import bounded, fits_without_markers, is_only_marked_anew, trespass
from mesh.events import Scalar
from mesh.knob_ranges import Given, comment_of, given_range
from mesh.knobs import literal_values, matches
from mesh.literals import language_of, literals_of
from mesh.source_literal import SourceLiteral
from mesh.spec import ArenaSpec, KnobsSpec

_Files = Mapping[str, bytes]
_SHOWN = 3
"""Names that one sentence shows."""


class LiteralRule(msgspec.Struct, frozen=True):
    """What the author says about one literal.

    Attributes:
        value: what it is in the baseline.
        given: its range, or that it is fixed.
        words: what a value outside of the range is, in words.
        for_samplers: whether it is fixed for samplers alone.
        must_stay: whether code without it has changed it.
    """

    value: Scalar
    given: Given
    words: str = ""
    for_samplers: bool = False
    must_stay: bool = False

    def allows(self, value: Scalar) -> bool:
        """Tell whether the literal may have this value; it may always have the baseline's."""
        if value == self.value:
            return True
        if self.given.is_fixed:
            return False
        if self.given.choices:
            return value in self.given.choices
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return not is_number or self.given.low <= float(value) <= self.given.high


class VersionRules:
    """The rules of one version of an arena.

    Args:
        version: its number, for the sentences.
        spec: its specification.
        base: the visible files of its base commit.
    """

    def __init__(self, version: int, spec: ArenaSpec, base: _Files) -> None:
        self._version, self._spec, self._base = version, spec, base
        editable = editable_paths(spec, base)
        self.bounds = {name: _bounds_of(spec, name, base[name]) for name in editable if name in base}

    @property
    def asks_samplers(self) -> bool:
        """Whether it matters which literals samplers have changed."""
        return any(bound.for_samplers for bounds in self.bounds.values() for bound in bounds.values())

    def breach(self, files: _Files, own_base: _Files, *, turned: Collection[tuple[str, str]] = ()) -> str:
        """Return in one sentence what a proposal changed that this version does not allow; "" if it keeps to it.

        Args:
            files: the files of the proposal.
            own_base: the files of the base commit that it was made under.
            turned: file and name of the literals that samplers changed, in it and in those that it comes from.
        """
        return self.touched(files, own_base) or self.changed_value(files, turned=turned)

    def touched(self, files: _Files, own_base: _Files) -> str:
        """Return which protected file, or text outside of regions, a proposal changed; "" if none; arguments above."""
        editable = editable_paths(self._spec, self._base, files)
        for name in sorted(files.keys() | own_base.keys()):
            data, own, base = files.get(name), own_base.get(name), self._base.get(name)
            if name not in editable:
                if data not in (own, base):
                    return f"changed {name}, which version {self._version} protects"
            elif data is not None and base is not None and trespass(name, base, data):
                if fits_without_markers(base, data):
                    continue
                is_text_new = own is not None and not trespass(name, own, data) and not is_only_marked_anew(own, base)
                if not is_text_new:
                    return f"changed {name} outside of the markers that version {self._version} has"
        return ""

    def changed_value(self, files: _Files, *, turned: Collection[tuple[str, str]] = ()) -> str:
        """Return which fixed literals a proposal changed, or set outside of their range; "" if none."""
        fixed, outside = list[str](), list[str]()
        for file, bounds in self.bounds.items():
            if not bounds or file not in files or files[file] == self._base[file]:
                continue
            values = literal_values(file, bounded(self._base[file], files[file]))
            is_moved = values.keys() != literal_values(file, self._base[file]).keys()
            for name, bound in bounds.items():
                if (bound.for_samplers and (file, name) not in turned) or (is_moved and _is_positional(name)):
                    continue
                if name not in values:
                    fixed += [name] if bound.must_stay else []
                elif not bound.allows(values[name]):
                    (fixed if bound.given.is_fixed else outside).append(name if bound.given.is_fixed else bound.words)
        if fixed:
            return f"changed {_listed(fixed)}, which version {self._version} fixes"
        return f"has {_listed(outside)} in version {self._version}" if outside else ""


def _bounds_of(spec: ArenaSpec, file: str, data: bytes) -> dict[str, LiteralRule]:
    """Return what the author says about the literals of a file, by their names; nothing about names that are twice."""
    if not language_of(file):
        return {}
    try:
        literals = literals_of(file, data.decode())
    except UnicodeDecodeError:
        return {}
    times = Counter(literal.name for literal in literals)
    knob_lines = {_line(data, each) for each in literals if not each.excluded and comment_of(each.comment)}
    found: dict[str, LiteralRule] = {}
    for literal in literals:
        is_commented = not literal.excluded or _line(data, literal) not in knob_lines
        bound = _bound_of(spec.knobs, file, literal, comment_of(literal.comment) if is_commented else "")
        if bound and times[literal.name] == 1:
            found[literal.name] = bound
    return found


def _bound_of(rules: KnobsSpec, file: str, literal: SourceLiteral, comment: str) -> LiteralRule | None:
    name = literal.name
    texts = [text for pattern, text in rules.bounds.items() if matches((pattern,), file, name)]
    text = texts[-1] if texts else comment
    given = given_range(text)
    if matches(rules.exclude, file, name):
        is_named = any(each in (name, f"{file}:{name}") for each in rules.exclude)
        return LiteralRule(literal.value, Given(is_fixed=True), must_stay=is_named)
    if given and given.is_fixed:
        return LiteralRule(literal.value, given, must_stay=not texts or name in rules.bounds)
    if rules.include and not matches(rules.include, file, name):
        return LiteralRule(literal.value, Given(is_fixed=True), for_samplers=True)
    if given is None or given.fault:
        return None
    return LiteralRule(
        literal.value, given, f"{name} outside of its {'choices' if given.choices else 'range'} {_range(given)}"
    )


def _range(given: Given) -> str:
    if given.choices:
        return ", ".join(map(str, given.choices))
    return f"{given.low:g}..{given.high:g}"


def _is_positional(name: str) -> bool:
    """Tell whether a name counts its place among others, so that an edit of the code may move it."""
    return "#" in name or "[" in name


def _line(data: bytes, literal: SourceLiteral) -> int:
    return data.count(b"\n", 0, literal.start)


def _listed(names: Sequence[str]) -> str:
    shown = list(names[:_SHOWN])
    if len(names) > _SHOWN:
        return f"{', '.join(shown)} and {len(names) - _SHOWN} more"
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
