"""An arena on disk: reads and checks `arena.toml`, and hashes the files and rules that must not change.

It checks what it can without running anything. Only the first trial shows whether the command works.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import msgspec

from mesh.arena_commands import check_commands, check_scorer_rights, checked_environment
from mesh.arena_files import MAX_FILE_BYTES, never_part
from mesh.bounds import MAX_USD
from mesh.brief import brief_text
from mesh.constraints import constraints_of
from mesh.coral_task import CORAL_OPTIONS
from mesh.decoding import decode_toml
from mesh.editable_paths import editable_paths, is_pattern
from mesh.editable_regions import bounded, protected_text, trouble_in_file
from mesh.errors import BadArena, BadInput
from mesh.folder_rules import words_of_commands
from mesh.foreign_tasks import EVALUATOR_OPTIONS, KNOWN, REPOSITORY_OPTION
from mesh.hidden_files import is_hidden
from mesh.ignore_patterns import check_patterns
from mesh.judge_rules import checked_judge
from mesh.named_files import score_inputs
from mesh.score_source import score_source_fault
from mesh.spec import (
    ArenaSpec,
    ArtifactSpec,
    DataSpec,
    EnvironmentSpec,
    JudgeSpec,
    KnobsSpec,
    ObjectiveSpec,
    ScoreSpec,
    SelectionSpec,
    StopSpec,
    TrialSpec,
    WorkerSpec,
)
from mesh.stages import trouble, unknown_key
from mesh.wire import check_token

_TABLES: dict[str, tuple[str, ...]] = {
    "arena": ("name", "summary", "brief"),
    "objective": ObjectiveSpec.__struct_encode_fields__,
    "artifact": ArtifactSpec.__struct_encode_fields__,
    "knobs": KnobsSpec.__struct_encode_fields__,
    "data": DataSpec.__struct_encode_fields__,
    "environment": EnvironmentSpec.__struct_encode_fields__,
    "judge": JudgeSpec.__struct_encode_fields__,
    "trial": TrialSpec.__struct_encode_fields__,
    "score": ScoreSpec.__struct_encode_fields__,
    "worker": WorkerSpec.__struct_encode_fields__,
    "selection": SelectionSpec.__struct_encode_fields__,
    "stop": StopSpec.__struct_encode_fields__,
}
_OPTIONAL = ("knobs", "data", "environment", "judge", "worker", "selection", "stop")


def load_arena(folder: Path) -> ArenaSpec:
    """Return the checked specification of the arena in `folder`.

    Raises:
        BadArena: the folder or its `arena.toml` cannot be used; the message names file, field and cure.
    """
    path = folder / "arena.toml"
    if not path.is_file():
        raise BadArena(
            f"{path} does not exist: an arena is a folder with an arena.toml: `mesh init {folder}` writes it "
            f"(`mesh up digits` runs one); the mesh also reads tasks of {KNOWN}"
        )
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise BadArena(f"{path} has more than {MAX_FILE_BYTES:,} bytes: shorten it")
        raw = decode_toml(path.read_bytes())
    except OSError as error:
        raise BadArena(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise BadArena(f"{path} is not valid TOML: {error}") from None
    spec = parse_arena(raw, str(path))
    for name in spec.artifact.editable:
        if is_pattern(name):
            continue
        file = folder / name
        if not file.is_file():
            raise BadArena(f"{path}: artifact.editable: {name!r} does not exist in {folder}")
        if file.resolve() != folder.resolve() / name:
            raise BadArena(f"{path}: artifact.editable: the path {name!r} contains a link: copy the file instead")
        if why := never_part(name, spec.artifact):
            raise BadArena(f"{path}: artifact.editable: {name!r} {why}")
        if trouble := trouble_in_file(name, file):
            raise BadArena(f"{path}: artifact.editable: {trouble}")
    try:
        check_scorer_rights(spec)
        spec = msgspec.structs.replace(spec, judge=checked_judge(spec))
    except BadInput as error:
        raise BadArena(f"{path}: {error}") from None
    environment = checked_environment(folder, path, spec.environment)
    spec = msgspec.structs.replace(spec, environment=environment)
    check_commands(folder, path, spec)
    return msgspec.structs.replace(spec, brief=brief_text(folder, spec.brief, spec.artifact.hidden))


def parse_arena(raw: Mapping[str, Any], where: str) -> ArenaSpec:
    """Return the specification in a decoded `arena.toml`.

    Args:
        raw: the decoded TOML.
        where: the file, for the errors.

    Raises:
        BadArena: a key is unknown or missing, or a value has the wrong type or is out of its bounds.
    """
    for name, table in raw.items():
        if name not in _TABLES:
            raise BadArena(f"{where}: unknown table or key {name!r}; use {', '.join(f'[{t}]' for t in _TABLES)}")
        if not isinstance(table, dict):
            raise BadArena(f"{where}: {name!r} must be a table: write its keys under [{name}]")
        if unknown := sorted(table.keys() - _TABLES[name]):
            raise BadArena(f"{where}: unknown key {unknown[0]!r} in [{name}]; use {', '.join(_TABLES[name])}")
    for name in _TABLES:
        if name not in raw and name not in _OPTIONAL:
            raise BadArena(f"{where}: table [{name}] is missing; its keys are {', '.join(_TABLES[name])}")
    if found := unknown_key(raw["score"].get("stage", [])):
        raise BadArena(f"{where}: {found}")
    tables = dict(raw)
    head = tables.pop("arena")
    try:
        spec = msgspec.convert({**tables, **head}, ArenaSpec, strict=False)
    except msgspec.ValidationError as error:
        raise BadArena(f"{where}: {_in_toml_words(str(error))}") from None
    _check(spec, where)
    return spec


def _in_toml_words(message: str) -> str:
    """Turn msgspec's `… - at `$.trial.budget_s`` into `trial.budget_s: …`."""
    match = re.fullmatch(r"(.*?) - at `(?:key in )?\$\.?(.*)`", message)
    if match is None:  # fields of an `ArenaSpec` outside of its tables come from [arena]
        return f"arena: {message}"
    return f"{'arena.' if match[2] in _TABLES['arena'] else ''}{match[2]}: {match[1]}"


def _check(spec: ArenaSpec, where: str) -> None:
    def refuse(sentence: str) -> None:
        raise BadArena(f"{where}: {sentence}") from None

    try:
        check_token("arena.name", spec.name)
    except BadInput as error:
        refuse(str(error))
    if not spec.artifact.editable:
        refuse("artifact.editable is empty: list at least one file that proposals may change")
    for name in spec.artifact.editable:
        parts = Path(name).parts
        if Path(name).is_absolute() or ".." in parts or not parts or name == "arena.toml":
            refuse(f"artifact.editable: {name!r} must be a relative path inside the arena, and not arena.toml")
        if name.removesuffix("/") != Path(name).as_posix():
            refuse(f"artifact.editable: write {name!r} as {Path(name).as_posix()!r}")
    _check_hidden(spec, refuse)
    for key in ("prepared", "writes", "cache"):
        for name in getattr(spec.artifact, key):
            if not name or name.startswith("/") or ".." in name.split("/") or "\0" in name:
                refuse(f"artifact.{key}: {name!r} must be a relative path or pattern inside the arena")
    try:
        check_patterns(spec.artifact.ignore)
    except BadInput as error:
        refuse(f"artifact.ignore: {error}")
    for name in (*spec.artifact.editable, "arena.toml"):
        if is_hidden(spec.artifact.cache, name):
            refuse(f"artifact.cache matches {name!r}, a file of the arena: name only what the build makes, as `build/`")
    if spec.artifact.prepared and not spec.artifact.prepare:
        refuse(
            "artifact.prepared needs artifact.prepare, the command that writes these files: name it, or leave both out"
        )
    if spec.data.source and not spec.artifact.prepare:
        refuse("data.source needs artifact.prepare, the command that reads the source: name it, or leave source out")
    _check_evaluator(spec, refuse)
    if spec.trial.deadline_s < spec.trial.budget_s:
        refuse(f"trial.deadline_s ({spec.trial.deadline_s:g}) is below trial.budget_s ({spec.trial.budget_s:g})")
    if spec.score.how == "command" and not spec.score.command:
        refuse('score.command is missing: score.how = "command" needs the program that scores a finished trial')
    if spec.score.predict and spec.score.how != "command":
        refuse(f'score.predict needs score.how = "command", but score.how is "{spec.score.how}": leave predict out')
    editable = set(spec.artifact.editable)
    if own := editable.intersection(spec.score.command[:2]):
        refuse(f"score.command runs {min(own)!r}, which proposals may change: score with a file that is not editable")
    for stage in spec.score.stage:
        if own := editable.intersection(stage.command[:2]):
            refuse(f"score.stage {stage.name!r}: command runs {min(own)!r}, which proposals may change: use another")
    if spec.score.how == "stdout" or (spec.score.how == "command" and spec.score.pattern):
        try:
            groups = re.compile(spec.score.pattern).groups
        except (re.error, RecursionError, OverflowError) as error:
            refuse(f"score.pattern is not a valid regular expression: {error}")
        else:
            if groups != 1:
                refuse(f"score.pattern has {groups} groups: it needs exactly one, around the number")
    if fault := score_source_fault(spec):
        refuse(fault)
    _check_numbers(spec, refuse)
    if spec.objective.noise == "items" and spec.score.how != "command":
        refuse(
            f'objective.noise is "items", but with score.how = "{spec.score.how}" the candidate would write the items: '
            'score with how = "command", or use "measured"'
        )
    if spec.selection.sealed != "off" and spec.score.how != "command":
        refuse(
            f'selection.sealed is "{spec.selection.sealed}", but with score.how = "{spec.score.how}" the candidate '
            'would see the split: score with how = "command", or leave sealed out'
        )
    score, goal = spec.score, spec.objective
    if found := trouble(
        score.stage,
        how=score.how,
        metric=goal.metric,
        direction=goal.direction,
        budget_s=spec.trial.budget_s,
        deadline_s=score.deadline_s,
    ):
        refuse(found)
    bounds = spec.objective.bounds
    if bounds and not bounds[0] < bounds[1]:
        refuse(f"objective.bounds is {list(bounds)}: use two numbers, the lower one first")


def _check_hidden(spec: ArenaSpec, refuse: Callable[[str], None]) -> None:
    hidden = spec.artifact.hidden
    for name in hidden:
        parts = Path(name).parts
        if Path(name).is_absolute() or ".." in parts or not parts or "\0" in name:
            refuse(f"artifact.hidden: {name!r} must be a relative path or pattern inside the arena")
        if Path(name).as_posix() != name.rstrip("/"):
            refuse(f"artifact.hidden: write {name!r} as {Path(name).as_posix()!r}")
        if is_hidden((name,), "arena.toml"):
            refuse(f"artifact.hidden: {name!r} hides arena.toml, which every worker reads: name the files to hide")
    for name in spec.artifact.editable:
        if is_hidden(hidden, name):
            refuse(
                f"artifact.hidden hides {name!r}, which artifact.editable lets proposals change: take it off one list"
            )
    seen = [("trial.command", spec.trial.command), ("score.predict", spec.score.predict)]
    if spec.score.how != "command":
        seen.append(("score.command", spec.score.command))  # it runs in the trial's place
    for what, command in seen:
        for word in command[:2]:
            if is_hidden(hidden, word):
                refuse(f"{what} runs {word!r}, which artifact.hidden keeps from trials: take it off one of the two")


def _check_numbers(spec: ArenaSpec, refuse: Callable[[str], None]) -> None:
    goal = spec.objective
    if spec.stop.usd > MAX_USD:
        refuse(f"stop.usd is {spec.stop.usd:g}; use dollars, a billion at most")
    try:
        constraints_of(goal.constraints)
    except ValueError as error:
        refuse(f"objective.constraints: {error}")


def _check_evaluator(spec: ArenaSpec, refuse: Callable[[str], None]) -> None:
    how = spec.score.how
    if how in ("command", "stdout", "file"):
        if not spec.trial.command:
            refuse('trial.command is empty: write the command that starts a trial, such as ["python", "train.py"]')
        return
    if spec.trial.command:
        refuse(f'trial.command must be left out: with score.how = "{how}" the evaluator runs the program itself')
    repository = [word for word in spec.score.command[2:] if word.startswith(REPOSITORY_OPTION)]
    if len(spec.artifact.editable) != 1 and how != "coral" and not (how == "shinka" and repository):
        refuse(f'artifact.editable must list one file: with score.how = "{how}" the evaluator gets one program')
    options = {"openevolve": EVALUATOR_OPTIONS, "coral": CORAL_OPTIONS}.get(how)
    if options and (
        len(spec.score.command) < 2 or any(not word.startswith(options) for word in spec.score.command[2:])
    ):
        refuse(
            'score.command must be an interpreter and the evaluator: ["python", "evaluator.py"]; '
            f"only options may follow: {', '.join(options)}"
        )
    if not spec.score.command:
        refuse('score.command is missing: name the evaluation, without its options: ["python", "evaluate.py"]')


def hash_of(files: Iterable[tuple[str, bytes]]) -> str:
    """Return the sha256 of files, given as pairs of name and contents; their order does not matter."""
    total = hashlib.sha256()
    for name, data in sorted(files):
        total.update(f"{len(name.encode())} {name} {len(data)} ".encode())
        total.update(data)
    return total.hexdigest()


def evaluator_hash(spec: ArenaSpec, files: Mapping[str, bytes]) -> str:
    """Return the hash of all that decides a score: the protected and hidden files and the rules of `arena.toml`.

    Text around editable regions is protected. Notes that no program names do not count (`mesh.named_files`), nor do the
    arena's name, summary and brief, nor where the data's source lies: a hidden file has the hash of its contents.
    Neither do `knobs`, `selection`, `stop`, and `noise` and `also` of `objective`: they use scores but do not change
    them, so old and new scores stay comparable. But a score that has items to compare is another one than a score
    without: `noise = "items"` counts. Of `judge`, the models count and which answers are used again.
    """
    editable = editable_paths(spec, files)
    inputs = score_inputs(files, editable, spec.artifact.hidden, words_of_commands(spec))
    protected = [(f"file {n}", data) for n, data in inputs.items() if n not in editable]
    protected += [(f"around {n}", text) for n in editable if (text := protected_text(files.get(n, b"")))]
    artifact = msgspec.structs.replace(spec.artifact, ignore=(), leave_out=None, prepare_hours=0.0, cache=())
    spec = msgspec.structs.replace(spec, artifact=artifact)
    plain = msgspec.convert(msgspec.to_builtins(spec), ArenaSpec)  # as a reader of the log gets it: 1 is 1.0
    noise: Literal["measured", "items"] = "items" if plain.objective.noise == "items" else "measured"
    measured = msgspec.structs.replace(plain.objective, noise=noise, also=())
    bare = {
        "name": "",
        "summary": "",
        "brief": "",
        "selection": SelectionSpec(),
        "knobs": KnobsSpec(),
        "stop": StopSpec(),
        "objective": measured,
    }
    judge = JudgeSpec(models=plain.judge.models, cache=plain.judge.cache)
    bare |= {"objective": measured, "data": DataSpec(), "judge": judge}
    rules = msgspec.json.encode(_stated(msgspec.structs.replace(plain, **bare)))
    return hash_of([*protected, ("rules", rules)])


def _stated(spec: msgspec.Struct) -> dict[str, Any]:
    """Return the fields that differ from their defaults: a field that a later version adds does not change the hash."""
    values = ((field, getattr(spec, field.name)) for field in msgspec.structs.fields(spec))
    return {field.encode_name: _stated_value(value) for field, value in values if value != field.default}


def _stated_value(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_stated_value(each) for each in value]
    return _stated(value) if isinstance(value, msgspec.Struct) else value


def overlay(spec: ArenaSpec, base: Mapping[str, bytes], proposal: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the files that run: the editable ones, or their regions, from the proposal, all else from the base commit.

    Args:
        spec: the arena, which names the editable files.
        base: files of the base commit by path.
        proposal: files of the proposal by path.
    """
    editable = editable_paths(spec, base, proposal)
    kept = {name: data for name, data in base.items() if name not in editable}
    taken = {parent.as_posix() for name in kept for parent in PurePosixPath(name).parents}
    changed = {
        name: data
        for name, data in proposal.items()
        if name in editable and name not in taken and not any(p.as_posix() in kept for p in PurePosixPath(name).parents)
    }
    return kept | {name: bounded(base.get(name, b""), data) for name, data in changed.items()}
