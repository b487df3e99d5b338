"""`docs/cli.md` says what the code does: every command, its example and options, every exit code."""

import re
from pathlib import Path

import pytest

from mesh_cli.exit import ExitCode
from tests.test_cli import COMMANDS, options

PAGE = Path(__file__).parents[1] / "docs" / "cli.md"


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_the_page_shows_every_command_with_its_example_and_options(path: tuple[str, ...]) -> None:
    [section] = re.findall(
        rf"\n### `mesh {' '.join(path)}(?:`| \[?[A-Z])[^\n]*\n(.*?)(?=\n##|\Z)", PAGE.read_text(), re.DOTALL
    )
    [example] = re.findall(r"Example: (mesh .*)", COMMANDS[path].help)
    assert example in section
    own = options(COMMANDS[path]) - {"--nats", "--arena", "--json"}
    assert sorted(option for option in own if f"`{option}" not in section) == []


def test_the_page_shows_every_exit_code_and_no_other() -> None:
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \|", PAGE.read_text(), re.MULTILINE)
    assert rows == [(str(code.value), code.name) for code in ExitCode]
