"""Somebody who follows a page of the documentation word for word: writes its files, runs its commands, compares.

A fence with a title that has a file name is a file; one of `bash` is run, in the folder where the last one ended; one
of `text` is what the commands before it show, as far as it is the same in every run: the first words of its lines.
"""

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
_ENOUGH = Path(__file__).with_name("enough.py")
_FENCE = re.compile(r"^```(\w+)(?: title=\"([^\"]+)\")?\n(.*?)^```$", re.DOTALL | re.MULTILINE)


class Block(NamedTuple):
    """A fenced block of a page."""

    kind: str
    title: str
    text: str


def blocks_of(page: str) -> list[Block]:
    """Return the blocks of a page, by its path from the root of the repository."""
    return [Block(*found) for found in _FENCE.findall((ROOT / page).read_text(encoding="utf-8"))]


class Follower:
    """One person at one machine: a home of their own, and a folder that they are in."""

    def __init__(
        self,
        folder: Path,
        *,
        other_words: Mapping[str, str],
        variables: Mapping[str, str] | None = None,
        enough: Sequence[str] = (),
    ) -> None:
        """Make the person's tools.

        Args:
            folder: the person's home.
            other_words: words of the page that this machine has others for, such as an address.
            variables: more variables of the environment.
            enough: `mesh up` is interrupted once its output had all of these (`tests.support.enough`).
        """
        self.folder = self.here = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._other_words = other_words
        tools = folder.parent / f"{folder.name}-tools"
        tools.mkdir()
        up = f'[ "$1" != up ] || exec "{sys.executable}" -P "{_ENOUGH}" "$@"\n' if enough else ""
        for name, words in {"python": "", "mesh": " -P -m mesh_cli"}.items():
            begin = up if name == "mesh" else ""
            (tools / name).write_text(f'#!/bin/sh\n{begin}exec "{sys.executable}"{words} "$@"\n')
            (tools / name).chmod(0o755)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("MESH_", "XDG_"))}
        path = f"{tools}:{Path(sys.executable).parent}:{kept['PATH']}"
        cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")  # fingerprints of this machine's files
        own = {
            "PATH": path,
            "HOME": str(folder),
            "XDG_CACHE_HOME": cache,
            "COLUMNS": "120",
            "ENOUGH": "\n".join(enough),
        }
        self.env = {**kept, **own, **(variables or {})}
        self.said = ""

    def follow(self, blocks: Sequence[Block]) -> None:
        """Do what the blocks say, one after the other."""
        for block in blocks:
            if "." in block.title or "Makefile" in block.title:
                self.write(block)
            elif block.kind == "bash":
                self.run(block.text)
            elif block.kind == "text":
                self.compare(block.text)

    def write(self, block: Block) -> None:
        """Write the file of a block."""
        path = self.here / block.title if (self.here / block.title).parent.is_dir() else self.folder / block.title
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text, encoding="utf-8")

    def words(self, text: str) -> str:
        """Return a text of the page with the words that this machine has."""
        for word, other in self._other_words.items():
            text = text.replace(word, other)
        return text

    def run(self, text: str) -> None:
        """Run commands; they must succeed."""
        script = self.words(text) + "\npwd > $PLACE\n"
        place = self.folder.parent / f"{self.folder.name}-place"
        done = subprocess.run(
            ["bash", "-euc", script],
            cwd=self.here,
            env={**self.env, "PLACE": str(place)},
            capture_output=True,
            text=True,
            timeout=500,
            check=False,
        )
        assert done.returncode == 0, f"{text}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        self.here, self.said = Path(place.read_text().strip()), done.stdout + done.stderr

    def compare(self, text: str) -> None:
        """Compare what a page shows with what the last commands said."""
        missing = _shape(text) - _shape(self.said)
        assert not missing, f"the page shows {sorted(missing)}, which is not in\n{self.said[-3000:]}"


def _shape(text: str) -> set[str]:
    """The first words of lines that are the same in every run: column heads, labels, names of knobs."""
    first = (re.match(r"[\s+#-]*([a-zA-Z_]+\b)", line) for line in text.splitlines())
    return {match[1] for match in first if match and not re.fullmatch(r"[0-9a-f]{8,}\S*", match[1])}
