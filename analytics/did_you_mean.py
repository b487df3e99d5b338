"""What a refused statement may have meant: words of other systems, of the log, and of other views, in one sentence.

DuckDB suggests names that look alike (`score_s` for `score`). This looks for names that mean the same, in this order:
text in double quotes, words that other systems have for ours, numbers and knobs of the log, columns of other views,
and only then names that look alike. Every suggestion is a name or a statement that works as it stands.
"""

import difflib
import re
from collections.abc import Container, Iterable, Mapping, Sequence
from contextlib import suppress

import duckdb

from analytics.sql_scope import scope_of, statement_words
from analytics.sql_words import (
    CLOSED_WORDS,
    COLUMN_WORDS,
    KNOB_WORDS,
    METRIC_WORDS,
    OTHER_DIALECTS,
    STATE_WORDS,
    VIEW_WORDS,
)

_COLUMN = (
    r'Referenced column "([^"]+)" not found',
    r'does not have a column named "([^"]+)"',
    r'Column "([^"]+)" (?:does not exist|in \w+ list)',
    r'column "([^"]+)" not found',
)
_TABLE = (r"Table with name (\S+) does not exist",)
_ALIAS = (r'Referenced table "([^"]+)" not found',)

_BEFORE_TEXT = r"(?:[=<>]|\bI?LIKE\b|\bIN\s*\((?:[^()]*,)?)\s*"
_LISTS = ("views", "tables", "view", "table", "databases", "schema", "columns", "dt", "indexes", "catalog")
_CLOSE = 0.78
_OTHERS = 3


def did_you_mean(db: duckdb.DuckDBPyConnection, sql: str, error: str) -> str:
    """Return a sentence in place of an error about a name, or "" where there is nothing better to say.

    Args:
        db: a connection that may read the projection.
        sql: the statement.
        error: what DuckDB says about it.
    """
    if word := _first(_COLUMN, error):
        views = _columns(db)
        if re.search(rf'{_BEFORE_TEXT}"{re.escape(word)}"', sql, re.IGNORECASE):
            return f"\"{word}\" in double quotes is the name of a column; a text stands in single quotes: '{word}'"
        scope = scope_of(sql, word)
        derived = _derived(db, scope.queries)
        return _about_column(db, word, _used(scope.sql, {**views, **derived}), views, derived)
    if word := _first(_ALIAS, error):
        return _about_alias(db, word, sql, _columns(db))
    if word := _first(_TABLE, error):
        return _about_view(db, word.rpartition(".")[2].strip('"'), _columns(db))
    return ""


def in_our_dialect(sql: str) -> str:
    """Return what to write in place of a statement that only other dialects and prompts know, or ""."""
    for pattern, ours in OTHER_DIALECTS:
        if found := re.search(pattern, sql, re.IGNORECASE):
            return found.expand(ours)
    return ""


def odd_words(sql: str) -> str:
    """Return a sentence where a statement compares a column with a word that the column never has, or ""."""
    words = statement_words(sql)
    used = _used(words.sql, {where.partition(".")[0] for where in CLOSED_WORDS})
    for column, first, several in re.findall(_COMPARED, words.sql, re.IGNORECASE):
        wheres = [f"{view}.{column.lower()}" for view in used if f"{view}.{column.lower()}" in CLOSED_WORDS]
        known = dict.fromkeys(word for where in wheres for word in CLOSED_WORDS[where].split())
        for word in map(words.text, re.findall(r"'\d+'", first or several)) if wheres else ():
            if not (set(word.split()) <= set(known)):
                ours = _same_word(word.lower(), known)
                meant = f"did you mean '{ours}'? It" if ours else "it"
                return f"{column.lower()} is never '{word}'; {meant} is {_listed(list(known), 'or')}"
    for word in map(words.text, re.findall(r"\bproposal\s*==?\s*('\d+')", words.sql, re.IGNORECASE)):
        if word in CLOSED_WORDS["proposals.state"].split() or word in CLOSED_WORDS["proposals.origin"].split():
            column = "state" if word in CLOSED_WORDS["proposals.state"].split() else "origin"
            has = any(f"{view}.{column}" in CLOSED_WORDS and view in ("proposals", "leaderboard") for view in used)
            named = f"{column} = '{word}'"
            meant = named if has else f"proposal IN (FROM proposals SELECT proposal WHERE {named})"
            return f"proposal is never '{word}', it is a hash of 40 digits; did you mean {meant}?"
    return ""


def odd_names(db: duckdb.DuckDBPyConnection, sql: str) -> str:
    """Return a sentence where a statement asks for a name that no knob or number has, or "".

    Args:
        db: a connection that may read the projection.
        sql: the statement, which has found nothing.
    """
    words = statement_words(sql)
    used = [view for view in _used(words.sql, _NAMING) if view in _NAMING]
    known = {
        str(row[0]): view
        for view in used
        for row in db.execute(f"SELECT DISTINCT name FROM {view} LIMIT 10000").fetchall()  # noqa: S608
    }
    for first, several in re.findall(_NAME_COMPARED, words.sql, re.IGNORECASE) if used else ():
        for word in map(words.text, re.findall(r"'\d+'", first or several)):
            if word in known:
                continue
            names = sorted(known, key=len)
            ours = [name for name in names if _abbreviates(word, name)] or difflib.get_close_matches(
                word, names, 1, _CLOSE
            )
            quoted = ["'" + name.replace("'", "''") + "'" for name in (ours or names)[:_OTHERS]]
            head = f"no {_NAMING[known[ours[0]] if ours else used[0]]} is named '{word}'"
            if ours:
                return f"{head}; did you mean {_listed(quoted, 'or')}?"
            return (
                f"{head}; there are {_listed(quoted)}{' and others' if len(names) > _OTHERS else ''}" if names else ""
            )
    return ""


_NAMING = {"knobs": "knob", "changes": "knob", "metrics": "number of runs"}
"""Views whose rows have names from the log, and what those name."""
_NAME_COMPARED = r"\bname\b\)?\s*(?:==?\s*('\d+')|IN\s*\(([^)]*)\))"
_COMPARED = r"\b(state|lane|origin|became|what)\b\)?\s*(?:(?:=|<>|!=|==)\s*('[^']*')|(?:NOT\s+)?IN\s*\(([^)]*)\))"


def _same_word(word: str, known: Iterable[str]) -> str:
    for words, ours in STATE_WORDS:
        if word in words.split() and (found := next((o for o in ours.split() if o in known), "")):
            return found
    return next(iter(difflib.get_close_matches(word, list(known), 1, _CLOSE)), "")


def _derived(db: duckdb.DuckDBPyConnection, queries: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the columns of the queries that a statement names, of those that stand as they are."""
    found: dict[str, list[str]] = {}
    for name, query in queries.items():
        with suppress(duckdb.Error):
            found[name] = [str(row[0]) for row in db.execute(f"DESCRIBE {query}").fetchall()]
    return found


def _about_alias(db: duckdb.DuckDBPyConnection, word: str, sql: str, views: Mapping[str, Sequence[str]]) -> str:
    """Return what a name before a dot may have meant: a view that is not in FROM, a knob, or a number of runs."""
    scope = scope_of(sql, word)
    used = _used(scope.sql, views)
    head = f'there is no "{word}" after FROM'
    dotted = re.search(rf'\b{re.escape(word)}"?\s*\.\s*"?(\w+)', scope.sql, re.IGNORECASE)
    if dotted and (found := _in_log(db, dotted[1])):
        return f"{head}; {found}"
    for view, words in (KNOB_WORDS, METRIC_WORDS, *((ours, theirs) for theirs, ours in VIEW_WORDS if ours in views)):
        if _plain(word) == view or _plain(word) in words.split():
            keys = "arena, run" if view in ("metrics",) and "runs" in used else "arena, proposal"
            by = next((own for own in used if "proposal" in views[own]), "")
            shares = by and "proposal" in views[view]
            return f"{head}; did you mean FROM {f'{by} JOIN {view} USING ({keys})' if shares else view}?"
    return f"{head}; it has {_listed(used)}, or their aliases" if used else ""


def _first(patterns: Sequence[str], error: str) -> str:
    return next((found[1] for pattern in patterns if (found := re.search(pattern, error))), "")


def _columns(db: duckdb.DuckDBPyConnection) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {view: [] for view in _FIRST}
    query = "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'main' ORDER BY ALL"
    for view, column in db.execute(query).fetchall():
        found.setdefault(view, []).append(column)
    return found


def _used(sql: str, views: Container[str]) -> list[str]:
    """Return the views after FROM and JOIN, in their order."""
    words: list[str] = []
    for part in re.findall(r"\b(?:FROM|JOIN|SUMMARIZE|PIVOT)\s+(?=([\w\s,\".]+))", sql, re.IGNORECASE):
        source = re.split(r"\b(?:WHERE|GROUP|ORDER|LIMIT|HAVING|ON|USING|JOIN|SELECT)\b", part, flags=re.IGNORECASE)[0]
        words += (re.split(r"\s", item.strip())[0].strip('"').rpartition(".")[2] for item in source.split(","))
    return [view for view in dict.fromkeys(map(str.lower, words)) if view in views]


def _about_column(
    db: duckdb.DuckDBPyConnection,
    word: str,
    used: Sequence[str],
    promised: Mapping[str, Sequence[str]],
    derived: Mapping[str, Sequence[str]],
) -> str:
    views = {**promised, **derived}
    head = f'there is no column "{word}" in {_listed(used, "or") or "the statement"}'
    for view in used:
        ours = _same(word, views[view])
        is_ranked = "champion" in CLOSED_WORDS.get(f"{view}.state", "").split()
        if ours == "state" and is_ranked and _plain(word) in _OF_CHAMPION:
            ours = "state = 'champion'"
        if ours:
            return f"{head}; did you mean {ours}{f' of {view}' if len(used) > 1 else ''}?"
    if found := _metric(db, word, used, views):
        return f"{head}; {found}"
    if found := _in_log(db, word):
        return f"{head}; {found}"
    for where, words in CLOSED_WORDS.items():
        view, _, column = where.partition(".")
        if view in used and word.lower() in words.split():
            return f"{head}; did you mean WHERE {column} = '{word.lower()}'?"
    runs = [view for view in used if "run" in views[view]]
    proposals = [view for view in used if "proposal" in views[view]]
    for (view, words), by, keys in ((KNOB_WORDS, proposals, "proposal"), (METRIC_WORDS, runs or proposals, "run")):
        if _plain(word) in words.split() or _plain(word) == view:
            keys = keys if by is runs or keys == "proposal" or runs else "proposal"
            more = f"FROM {by[0]} JOIN {view} USING (arena, {keys})" if by else f"FROM {view}"
            return f"{head}; did you mean the view {view}? It has a row for each of them: {more}"
    order = sorted(promised, key=lambda view: view != "leaderboard") if proposals and not runs else list(promised)
    elsewhere = [view for view in order if _same(word, views[view], alike=False)]
    if elsewhere and not derived.keys() & {*used}:
        first = _same(word, views[elsewhere[0]], alike=False)
        of = [view for view in elsewhere if first in views[view]][:_OTHERS]
        return f"{head}; did you mean {first} of {_listed(of, 'or')}?"
    return (
        f"{head}; its columns are {', '.join(dict.fromkeys(c for view in used for c in views[view]))}" if used else ""
    )


def _about_view(db: duckdb.DuckDBPyConnection, word: str, views: Mapping[str, Sequence[str]]) -> str:
    plain = word.lower()
    if plain in _LISTS:
        return "SHOW TABLES lists the views, and DESCRIBE runs the columns of one"
    head = f'there is no view "{word}"'
    for words, ours in VIEW_WORDS:
        if plain in words.split():
            return f"{head}; did you mean {ours}?" if ours in views else f"{head}; did you mean FROM {ours}?"
    if found := _in_log(db, word):
        return f"{head}; {found}"
    if close := difflib.get_close_matches(plain, [view for view in views if view[0] == plain[0]], 1, _CLOSE):
        return f"{head}; did you mean {close[0]}?"
    for view, columns in views.items():
        if ours := _same(word, columns, alike=False):
            return f"{head}; did you mean the column {ours} of {view}?"
    return f"{head}; there are {', '.join(sorted(views))}"


def _same(word: str, columns: Sequence[str], *, alike: bool = True) -> str:
    """Return the column that a word means: another system's word for it, another spelling, or one much alike."""
    plain = _plain(word)
    tried = [plain, *(plain.removesuffix(s) for s in _BEHIND), *(plain.removeprefix(p) for p in _BEFORE)]
    for name in dict.fromkeys(tried):
        if name in columns:
            return name
        for words, ours in COLUMN_WORDS:
            if name in words.split() and (found := next((o for o in ours.split() if o in columns), "")):
                return found
        for form in (f"{name}s", name.removesuffix("s"), f"{name}_s", f"{name}_at", f"{name}_mb"):
            if form in columns:
                return form
    if not alike or any(plain in words.split() for words, _ in COLUMN_WORDS):  # a word that we know is no misspelling
        return ""
    return next(iter(difflib.get_close_matches(plain, columns, 1, _CLOSE)), "")


_OF_CHAMPION = ("champion", "is_champion", "is_best", "winner")
_FIRST = ("runs", "proposals", "leaderboard", "cost", "frontier", "agents")
"""Views that are suggested before others."""
_BEFORE = ("run_", "trial_", "n_", "num_", "total_", "avg_", "mean_", "max_", "min_", "is_", "proposal_", "final_")
_BEHIND = (
    *("_id", "_uuid", "_name", "_s", "_sec", "_secs", "_seconds", "_ms", "_count", "_time", "_value"),
    *("_usd", "_mb", "_gb", "_hash"),
)


def _plain(word: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", word).lower().strip("_").replace("-", "_").replace(".", "_")


def _metric(db: duckdb.DuckDBPyConnection, word: str, used: Sequence[str], views: Mapping[str, Sequence[str]]) -> str:
    """Return the column of a score, where a word is the metric of an arena; else ""."""
    for (metric,) in db.execute("SELECT DISTINCT metric FROM arenas WHERE metric IS NOT NULL").fetchall():
        if _abbreviates(word, metric):
            column = next((c for c in ("value", "mean", "best") for v in used if c in views[v] and v != "metrics"), "")
            if column:
                return f"did you mean {column}? It is the metric of the arena: {metric}"
    return ""


def _in_log(db: duckdb.DuckDBPyConnection, word: str) -> str:
    """Return where a number that runs print, or a knob of the artifact, is found; "" if it is neither."""
    for view, what in (("metrics", "a number of runs"), ("knobs", "a knob")):
        word = re.sub(r"^(?:params?|config|hparams|metrics?|summary)[_.]", "", word, flags=re.IGNORECASE) or word
        names = [str(row[0]) for row in db.execute(f"SELECT DISTINCT name FROM {view} LIMIT 10000").fetchall()]  # noqa: S608
        if name := next((n for n in sorted(names, key=len) if _abbreviates(word, n)), ""):
            quoted = "'" + name.replace("'", "''") + "'"
            return f'"{word}" is {what}; did you mean FROM {view} WHERE name = {quoted}?'
    return ""


def _abbreviates(word: str, name: str) -> bool:
    """Tell whether a word stands for a name: `acc` or `val_acc` for `val_accuracy`, `lr` for `LEARNING_RATE`."""
    short, full = word.lower(), name.lower()
    parts = [part for part in re.split(r"[^a-z0-9]+", full) if part]
    bare = re.sub(r"^(?:val|valid|test|eval|train|mean|best)_", "", short)
    if short == full or bare in (full, *parts[-1:]) or (len(parts) > 1 and bare == "".join(p[0] for p in parts)):
        return True
    return len(bare) >= 3 and any(form.startswith(bare) for form in (full, *parts[-1:]))


def _listed(names: Sequence[str], word: str = "and") -> str:
    return f" {word} ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))
