"""Writes the reference of `arena.toml`: `python -m mesh.arena_page > docs/reference/arena.md` (or `make events`).

Names, types, bounds and defaults come from the structs of `mesh.spec`, meanings from `mesh.meanings`.
"""

import sys

import msgspec
from msgspec import inspect

from mesh.events_page import field_table
from mesh.meanings import meaning
from mesh.spec import ArenaSpec

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
        sections.append(f"## `[{field.encode_name}]`\n\n{about}\n\n{field_table(field.type, 'key')}\n")
    return "\n".join(sections)


if __name__ == "__main__":
    sys.stdout.write(render())
