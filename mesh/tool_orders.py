"""Files that tools obey on their own: `CLAUDE.md`, hidden files and the like, which no proposal may bring to a folder.

Whoever lays out the code of others for a coding agent, an editor or a shell leaves them out. Pure.
"""

from collections.abc import Mapping

from mesh.leavings import CHECKOUT_NOTE

_OWN = frozenset({"mesh.toml", CHECKOUT_NOTE})
"""Files that a checkout writes itself."""

_ORDERS = _OWN | frozenset(
    name.lower()
    for name in (
        *("CLAUDE.md", "CLAUDE.local.md", "AGENTS.md", "AGENTS.override.md", "GEMINI.md", "QWEN.md", "WARP.md"),
        *("CONVENTIONS.md", "copilot-instructions.md", "opencode.json", "opencode.jsonc", "mise.toml"),
    )
)
"""Files that tools obey, beside those that are hidden or in hidden folders."""


def without_orders(base: Mapping[str, bytes], files: Mapping[str, bytes]) -> tuple[dict[str, bytes], tuple[str, ...]]:
    """Return files without those that tools obey in a folder, and the names of what was left out.

    They are settings of the mesh, and what coding agents, editors and shells read on their own: `CLAUDE.md`, hidden
    files. The operator's are kept, but not what a proposal makes of them: its author is anybody.

    Args:
        base: The files of the baseline.
        files: The files of a proposal.
    """
    ordered = [name for name in files if _instructs(name) and (files[name] != base.get(name) or name in _OWN)]
    kept = {name: data for name, data in files.items() if name not in ordered}
    return kept | {name: base[name] for name in ordered if name in base and name not in _OWN}, tuple(ordered)


def _instructs(name: str) -> bool:
    parts = name.lower().split("/")
    return parts[-1] in _ORDERS or any(part.startswith(".") for part in parts)
