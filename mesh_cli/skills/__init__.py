"""The skills that come with the mesh, for agents that read such files (agentskills.io)."""

from pathlib import Path

from mesh.atomic_write import atomic_write
from mesh.errors import BadInput

_HERE = Path(__file__).parent
NAME = "SKILL.md"


def skill_text(skill: str = "mesh") -> str:
    """Return the text of a skill."""
    return (_HERE / skill / NAME).read_text(encoding="utf-8")


def install(folder: Path, skill: str = "mesh") -> Path:
    """Write a skill into a folder of skills, over an older one, and return its file.

    Raises:
        BadInput: It cannot be written, or another file of this name is there.
    """
    path = folder / skill / NAME
    try:
        if path.exists() and f"\nname: {skill}\n" not in path.read_text(encoding="utf-8", errors="replace"):
            raise BadInput(f"{path} is another skill; name another folder with --install")
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as beside:
            beside.write_text(skill_text(skill), encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{path} cannot be written: {error.strerror or error}") from None
    return path
