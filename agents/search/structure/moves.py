"""Which structural moves an artifact allows: rewritings that give samplers new numbers to turn.

They are for programs whose literals are knobs because nobody gave ranges, or that have no knobs. Where an author
declares the knobs, nothing is rewritten unless `[knobs] structural = true`.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress

from agents.search.samplers.protocol import Values
from agents.search.samplers.table_moves import LEAST_NUMBERS, name_of_table, table_knobs, without_tables
from agents.search.samplers.walk import has_literals
from agents.search.structure.factors import FACTORS, factored
from agents.search.structure.tables import Rewriting, with_tables
from agents.search.structure.ties import TIES, is_tied
from mesh.knobs import Knob, knobs_of
from mesh.spec import KnobsSpec

FEW_LITERALS = 12
"""With more knobs than this beside tables, expressions get no factors: they pay where literals are few."""


def is_structural(space: Sequence[Knob], rules: KnobsSpec) -> bool:
    """Tell whether code may be rewritten.

    Args:
        space: The knobs of the code.
        rules: What `[knobs]` in `arena.toml` says.
    """
    if rules.structural != "auto":
        return rules.structural
    return rules.literals is not False and (has_literals(space) or not space)


def structural_moves(
    space: Sequence[Knob], files: Mapping[str, bytes], editable: Sequence[str], rules: KnobsSpec
) -> tuple[str, ...]:
    """Return the samplers of structural moves that code allows.

    Args:
        space: The knobs of the code.
        files: Contents by path.
        editable: The paths of the files that may be edited.
        rules: What `[knobs]` in `arena.toml` says.
    """
    if not is_structural(space, rules):
        return ()
    is_poor = len(without_tables(space)) <= FEW_LITERALS
    return (
        "tables",
        *((TIES,) if is_tied(space) else ()),
        *((FACTORS,) if is_poor and has_factors(files, editable, rules) else ()),
    )


def has_table(values: Values) -> bool:
    """Tell whether some of the values of a trial may be numbers of a table."""
    count = Counter((file, name_of_table(name)) for file, name in values if "[" in name)
    return max(count.values(), default=0) >= LEAST_NUMBERS


def can_rewrite(files: Mapping[str, bytes], editable: Sequence[str], rules: KnobsSpec) -> bool:
    """Tell whether files without knobs can be rewritten so that they have some; arguments as of `rewritten`."""
    return is_structural((), rules) and (
        rewritten(files, editable, rules) is not None or has_factors(files, editable, rules)
    )


def has_factors(files: Mapping[str, bytes], editable: Sequence[str], rules: KnobsSpec) -> bool:
    """Tell whether an expression of the editable Python files may get a factor that is a knob; arguments as above."""
    for name, source in _python(files, editable):
        if new := next(factored(source), None):
            count = len(knobs_of({name: source.encode()}, [name], rules))
            if len(knobs_of({name: new.source.encode()}, [name], rules)) > count:
                return True
    return False


def with_factor(
    files: Mapping[str, bytes], editable: Sequence[str], is_new: Callable[[str, str], bool]
) -> tuple[str, Rewriting] | None:
    """Return the first editable Python file with one more factor or summand that is new, None if all were tried.

    Args:
        files: Contents by path.
        editable: The paths of the files that may be edited.
        is_new: Tells whether a file with a new source was not proposed yet.
    """
    for name, source in _python(files, editable):
        for found in factored(source):
            if is_new(name, found.source):
                return name, found
    return None


def _python(files: Mapping[str, bytes], editable: Sequence[str]) -> Iterator[tuple[str, str]]:
    for name in editable:
        if name.endswith(".py") and name in files:
            with suppress(UnicodeDecodeError):
                yield name, files[name].decode()


def rewritten(files: Mapping[str, bytes], editable: Sequence[str], rules: KnobsSpec) -> tuple[str, Rewriting] | None:
    """Return the first editable Python file whose arrays become tables, and its new source; None if there is none.

    Args:
        files: Contents by path.
        editable: The paths of the files that may be edited.
        rules: What `[knobs]` says: a table whose numbers are no knobs by it is of no use.
    """
    for name, source in _python(files, editable):
        if (found := with_tables(source)) and table_knobs(knobs_of({name: found.source.encode()}, [name], rules)):
            return name, found
    return None
