"""What an import will do, in words: what each column is taken for, and what the history's noise says of its gains."""

from collections import Counter
from collections.abc import Iterator

from mesh.text import printable
from mesh_cli.history.history_noise import REAL_GAIN
from mesh_cli.history.import_results import Source, judged_gains
from mesh_cli.history.result_files import METRIC_OF
from mesh_cli.history.result_rows import ForeignHistory, RowStatus

_SHOWN = 12
_AS: dict[RowStatus, str] = {"keep": "kept", "discard": "discarded", "crash": "failed"}


def mapping_lines(history: ForeignHistory, source: Source) -> Iterator[str]:
    """Yield what the columns of a file are taken for, one line each."""
    table, roles = history.table, history.roles
    yield f"{table.name}: {table.form}, {len(history.rows)} experiments"
    for note in table.notes:
        yield f"  {'note':<11}{note}"
    better = "less" if history.direction == "minimize" else "more"
    called = f" (column {roles.metric})" if roles.metric_name != roles.metric else ""
    given = "as in arena.toml"
    why = given if source.live and source.asked.metric is None else roles.reasons.get("metric", "")
    towards = given if source.live and source.direction is None else history.why_direction
    yield f"  {'metric':<11}{roles.metric_name}{called}: {why}; {better} is better: {towards}"
    if roles.commit:
        code = (
            "whose code is read from the repository"
            if source.repository or source.live
            else "without its code (see --repo)"
        )
        yield f"  {'commit':<11}{roles.commit}, {code}"
    for role in ("id", "text", "rationale", "parent", "diff", "time", "seconds", "memory"):
        if name := getattr(roles, role):
            yield f"  {role:<11}{name}"
    yield f"  {'status':<11}{_statuses(history)}"
    if roles.numbers:
        yield f"  {'metrics':<11}{_listed(roles.numbers)}"
    used = {roles.metric, roles.commit, roles.id, roles.text, roles.rationale, roles.parent, roles.diff, roles.time}
    used |= {roles.seconds, roles.memory, roles.status, *roles.numbers, METRIC_OF, "-"}
    if left := [column for column in table.columns if column not in used]:
        yield f"  {'not used':<11}{_listed(left)}"
    yield f"  {'noise':<11}{noise_words(history)}"
    if history.worse:
        yield f"  {'note':<11}{history.worse} of the kept ones are worse than the one kept before"


def _statuses(history: ForeignHistory) -> str:
    if not history.roles.status:
        words = Counter(row.status for row in history.rows)
        counts = ", ".join(f"{words[status]} {_AS[status]}" for status in _AS if words[status])
        return f"no column: what is better than all before counts as kept ({counts})"
    pairs = Counter((printable(row.word, 30) or "none", row.status) for row in history.rows)
    found = [f"{word} → {_AS[status]} ({count})" for (word, status), count in pairs.most_common(_SHOWN)]
    return f"{history.roles.status}: {', '.join(found)}" + (
        f" and {len(pairs) - _SHOWN} more" if pairs.keys() and len(pairs) > _SHOWN else ""
    )


def _listed(names: tuple[str, ...] | list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(printable(name, 60) for name in names[:_SHOWN]) + more


def noise_words(history: ForeignHistory) -> str:
    """Return what the noise of a history is, and how many of the kept gains are beyond it."""
    noise, gains = judged_gains(history)
    if not noise.source:
        return "this history does not show how noisy a score is: no experiment was run again, and few were discarded"
    kept = [gain for row, gain in zip(history.rows, gains, strict=True) if row.status == "keep" and gain is not None]
    sure = sum((noise.p_better(gain) or 0.0) >= REAL_GAIN for gain in kept)
    seen = (
        "experiments that were run again"
        if noise.source == "repeats"
        else f"the nearest of {noise.dof + 1} discarded ones"
    )
    if noise.sd == 0:
        return f"none: {seen} gave equal scores"
    return (
        f"a score has a standard deviation of about {noise.sd:.2g} (from {seen}); {sure} of {len(kept)} kept gains "
        f"are beyond it (at least {REAL_GAIN:.0%} sure), the others may be luck"
    )
