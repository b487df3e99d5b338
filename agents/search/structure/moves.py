"""Which structural moves an artifact allows: rewritings that give samplers new numbers to turn.

They are for programs whose literals are knobs because nobody gave ranges, or that have no knobs. Where an author
declares the knobs, nothing is rewritten unless `[knobs] structural = true`.
"""

from collections.abc import Mapping, Sequence

from agents.search.samplers.table_moves import table_knobs
from agents.search.samplers.walk import has_literals
from agents.search.structure.tables import Rewriting, with_tables
from mesh.knobs import Knob, knobs_of
from mesh.spec import KnobsSpec


def is_structural(space: Sequence[Knob], rules: KnobsSpec) -> bool:
    """Tell whether code may be rewritten.

    Args:
        space: The knobs of the code.
        rules: What `[knobs]` in `arena.toml` says.
    """
    if rules.structural != "auto":
        return rules.structural
    return rules.literals is not False and (has_literals(space) or not space)


def can_rewrite(files: Mapping[str, bytes], editable: Sequence[str], rules: KnobsSpec) -> bool:
    """Tell whether files without knobs can be rewritten so that they have some; arguments as of `rewritten`."""
    return is_structural((), rules) and rewritten(files, editable, rules) is not None


def rewritten(files: Mapping[str, bytes], editable: Sequence[str], rules: KnobsSpec) -> tuple[str, Rewriting] | None:
    """Return the first editable Python file whose arrays become tables, and its new source; None if there is none.

    Args:
        files: Contents by path.
        editable: The paths of the files that may be edited.
        rules: What `[knobs]` says: a table whose numbers are no knobs by it is of no use.
    """
    for name in editable:
        if not name.endswith(".py") or name not in files:
            continue
        try:
            source = files[name].decode()
        except UnicodeDecodeError:
            continue
        if (found := with_tables(source)) and table_knobs(knobs_of({name: found.source.encode()}, [name], rules)):
            return name, found
    return None
