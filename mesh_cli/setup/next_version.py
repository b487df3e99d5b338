"""What the next version of an arena would make of its history, before anybody opens it: `mesh check` says so."""

from pathlib import Path

from mesh import settings
from mesh.arena_files import read_arena
from mesh.errors import BusUnavailable, ObjectMissing, UnknownName
from mesh.git_tree import add_tree
from mesh.hidden_files import split_hidden
from mesh.open_arena import is_related
from mesh.rule_breaches import breaches, coming_lines
from mesh.spec import ArenaSpec
from mesh.version_rules import VersionRules
from mesh_cli.connect import board_of, code_store_of, reach


async def next_version_lines(folder: Path, spec: ArenaSpec) -> list[str]:
    """Return in sentences which proposals of the arena of that name the folder would rule out; none without such.

    The log is that of the setting `nats`, or of this home, whether a swarm runs or not.

    Args:
        folder: the folder of the arena.
        spec: what its arena.toml says.
    """
    home = settings.home()
    if not settings.value("nats", None) and not (settings.server_dir(home) / "store").is_dir():
        return []
    try:
        async with reach(spec.name, None) as bus:
            board, code = await board_of(bus), code_store_of(bus)
            if board.opened is None or not board.proposals:
                return []
            shown, _ = split_hidden(spec.artifact.hidden, read_arena(folder, spec).files)
            if not is_related(spec.name, folder, home, shown, await code.files(board.opened.base_commit)):
                return []
            version = board.next_version
            rules = VersionRules(version, spec, shown)
            groups = await breaches(board, rules, code, add_tree(shown, {}))
    except (BusUnavailable, UnknownName, ObjectMissing):
        return []
    return coming_lines(board, version, groups)
