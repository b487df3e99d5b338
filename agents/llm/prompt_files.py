"""The prompts of the roles, which lie beside this module as Markdown."""

from pathlib import Path

_PROMPTS = Path(__file__).parent / "prompts"


def prompt(name: str) -> str:
    """Return a prompt of this package, `prompts/<name>.md`."""
    return (_PROMPTS / f"{name}.md").read_text(encoding="utf-8").strip()
