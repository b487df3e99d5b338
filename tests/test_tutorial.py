"""The tutorial is true: its files and commands, taken from the page, run against a real swarm and say what it shows."""

from pathlib import Path

import pytest

from tests.support.follower import Follower, blocks_of

BLOCKS = blocks_of("docs/tutorial.md")


@pytest.mark.timeout(1200)
def test_the_tutorial_runs_as_it_is_written(tmp_path: Path) -> None:
    minutes = {"--minutes 1": "--minutes 7"}  # it ends when it has shown enough, and not later
    person = Follower(tmp_path / "person", other_words=minutes, enough=["champion of round 3"])
    person.follow(BLOCKS)
    assert (person.folder / "winner" / ".git").is_dir()


def test_the_tutorial_has_every_step() -> None:
    assert {title for _, title, _ in BLOCKS if title} == {f"demand/{name}" for name in FILES}
    commands = "".join(text for kind, _, text in BLOCKS if kind == "bash")
    assert [
        word for word in ("mesh up", "mesh leaderboard", "mesh sql", "mesh git export") if word not in commands
    ] == []


FILES = ("forecast.py", "prepare.py", "score.py", "arena.toml")
