"""Writes the reference of `arena.toml`: `python -m mesh.arena_page > docs/reference/arena.md` (or `make events`).

Names, types, bounds and defaults come from the structs of `mesh.spec`, meanings from `mesh.meanings`.
"""

import sys

import msgspec
from msgspec import inspect

from mesh.events_page import field_table
from mesh.meanings import meaning
from mesh.spec import ArenaSpec, ScoreSpec
from mesh.stages import StageSpec

_HEAD = """# arena.toml

`make events` writes this page from `mesh/spec.py` and `mesh/meanings.py`; do not edit it. An arena is a folder with an
`arena.toml`, the artifact, and a program that scores it. A key that is not listed here is an error. The meaning of a
number gives its unit. [Selection](../selection.md) explains what `[selection]` decides, and
[environment of a trial](environment.md) lists the variables that a trial sees.

## `[arena]`

The name of the arena and its goal.

| key | type | default | meaning |
|---|---|---|---|
"""

_STAGE = (
    "One stage of scoring, a table for each: cheap first, and last the one that gives the score. They may be left out. "
    "[How they decide](../selection.md#stages)."
)


def render() -> str:
    """Return the whole page as Markdown."""
    whole = inspect.type_info(ArenaSpec)
    assert isinstance(whole, inspect.StructType)
    tables = [field for field in whole.fields if isinstance(field.type, inspect.StructType)]
    plain = {field.name for field in whole.fields} - {field.name for field in tables}
    head = [line for line in field_table(whole).splitlines() if line.split("`")[1:2] and line.split("`")[1] in plain]
    sections = [_HEAD + "\n".join(head) + "\n"]
    for field in tables:
        assert isinstance(field.type, inspect.StructType)
        needed = "" if field.default is msgspec.NODEFAULT else " This table may be left out."
        about = f"{meaning(ArenaSpec, field.name)}{needed}"
        sections.append(f"## `[{field.encode_name}]`\n\n{about}\n\n{_keys(field.type)}\n")
        if field.type.cls is ScoreSpec:
            stage = inspect.type_info(StageSpec)
            assert isinstance(stage, inspect.StructType)
            sections.append(f"## `[[score.stage]]`\n\n{_STAGE}\n\n{_keys(stage)}\n")
    return "\n".join(sections)


def _keys(info: inspect.StructType) -> str:
    return field_table(info, "key").replace("[StageSpec](#stagespec)", "`[[score.stage]]`")


if __name__ == "__main__":
    sys.stdout.write(render())
