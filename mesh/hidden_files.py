"""Files of an arena that no trial, predictor or model sees: which ones `artifact.hidden` names.

They are not part of the artifact that proposals change and workers lay out for trials: they are stored with the private
data (`mesh.frozen_data`). `prepare` and the score program find them at their own paths.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache


def is_hidden(patterns: Sequence[str], name: str) -> bool:
    """Tell whether a file of an arena is hidden.

    Args:
        patterns: paths and patterns, as in `artifact.hidden`. `*` and `?` stand for characters of one name, `**` for
            any number of folders; a pattern that matches a folder hides everything in it.
        name: path of the file inside of the arena, with `/`.
    """
    return bool(patterns) and _matcher(tuple(patterns)).match(name) is not None


def without_match(patterns: Iterable[str], names: Iterable[str]) -> list[str]:
    """Return the patterns that match none of these files."""
    known = list(names)
    return [pattern for pattern in patterns if not any(is_hidden((pattern,), name) for name in known)]


def split_hidden(patterns: Sequence[str], files: Mapping[str, bytes]) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Return the files that trials may see, and the hidden ones."""
    hidden = {name: data for name, data in files.items() if is_hidden(patterns, name)}
    return {name: data for name, data in files.items() if name not in hidden}, hidden


def leads_to(patterns: Sequence[str], folder: str) -> bool:
    """Tell whether a pattern spells out this folder of the arena: what it hides there is read, whatever its name is."""
    return any(pattern.rstrip("/") == folder or pattern.startswith(f"{folder}/") for pattern in patterns)


@lru_cache(maxsize=64)
def _matcher(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(_regular_expression(pattern.rstrip("/")) for pattern in patterns), re.DOTALL)


def _regular_expression(pattern: str) -> str:
    parts = []
    for part in pattern.split("/"):
        if part == "**":
            parts.append("(?:[^/]+/)*")
        else:
            parts.append(re.sub(r"\\\*(?:\\\*)*", "[^/]*", re.escape(part)).replace(r"\?", "[^/]") + "/")
    whole = "".join(parts)
    return f"{whole.removesuffix('/')}(?:/|\\Z)" if not whole.endswith("*") else f"{whole}[^/]+\\Z"
