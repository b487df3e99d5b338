"""Where a number of `score.how = "file"` stands: checks of `score.file`, `key`, `column`, `row` and `pattern`."""

import re
from pathlib import PurePosixPath

from mesh.spec import ArenaSpec


def score_source_fault(spec: ArenaSpec) -> str:
    """Return the sentence about what is wrong with the file of the score in `arena.toml`, "" if nothing is."""
    score = spec.score
    given = {"file": score.file, "key": score.key, "column": score.column, "row": score.row}
    if score.how != "file":
        if extra := [name for name, value in given.items() if value]:
            return f'score.{extra[0]} needs score.how = "file", but score.how is "{score.how}": leave it out'
        return ""
    path = PurePosixPath(score.file)
    if not score.file:
        return (
            'score.file is missing: score.how = "file" needs the file that a trial writes, such as "out/metrics.json"'
        )
    if path.is_absolute() or ".." in path.parts or "\0" in score.file or str(path) != score.file:
        return f"score.file is {score.file!r}: use a relative path inside of the trial's folder"
    if score.file in spec.artifact.editable:
        return f"score.file is {score.file!r}, which proposals may change: name a file that a trial writes"
    if score.command or score.predict or score.stage:
        return 'score.command, predict and stage must be left out: with score.how = "file" the trial writes its score'
    ways = [name for name, value in (("key", score.key), ("column", score.column), ("pattern", score.pattern)) if value]
    if len(ways) != 1:
        named = " and ".join(ways) or "none of them"
        return (
            'score.how = "file" needs one of key (of a JSON file), column (of a CSV file) and pattern (of a text), but '
            f"arena.toml has {named}"
        )
    if score.row and not score.column:
        return "score.row names a row of a CSV file: it needs score.column"
    if score.pattern:
        try:
            groups = re.compile(score.pattern).groups
        except (re.error, RecursionError, OverflowError) as error:
            return f"score.pattern is not a valid regular expression: {error}"
        if groups != 1:
            return f"score.pattern has {groups} groups: it needs exactly one, around the number"
        if others := [*spec.objective.constraints, *spec.objective.also]:
            return (
                f"objective names the number {others[0]!r}, but score.pattern gives only the metric: use key or column"
            )
    return ""


def is_score_file(name: str) -> bool:
    """Tell whether a word is the name of a file that a score can be read from by a key or a column."""
    return PurePosixPath(name).suffix in (".json", ".jsonl", ".csv", ".tsv")
