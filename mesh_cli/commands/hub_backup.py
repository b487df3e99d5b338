"""`mesh hub backup` and `mesh hub restore`: all that a hub keeps, in one folder."""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from mesh_cli.app import Json, Nats, print_json
from mesh_cli.commands.hub import HubDir, hub
from mesh_cli.exit import run


@hub.command
def backup(
    target: Path,
    *,
    directory: HubDir = None,
    no_keys: Annotated[
        bool, Parameter(name="--no-keys", negative="", help="Leave the keys of the hub out of the backup.")
    ] = False,
    nats: Nats = None,
    json: Json = False,
) -> int:
    """Copy all logs and objects, and the keys of the hub, into a new folder, while everybody goes on.

    The backup is whole or it is not there. With keys, who has it can speak as the hub: keep it as you keep these.

    Example: mesh hub backup /backups/hub-2026-11-27
    """

    async def work() -> None:
        from mesh import settings
        from mesh_cli.history.hub_backup import back_up, totals
        from mesh_cli.hub.own_server import reach_log
        from mesh_cli.render.step_progress import StepProgress

        folder = _folder_of(directory, settings.home())
        async with reach_log(folder, nats) as opened:
            with StepProgress() as progress:
                keys = None if no_keys else folder
                listed = await back_up(opened, target, keys, lambda what: progress.at(f"backup: {what}"))
        found = totals(listed)
        if json:
            print_json({"folder": str(target), **found})
            return
        print(target)
        words = f"{found['messages']:,} messages in {found['streams']} streams, {found['bytes'] / 1e6:,.1f} MB"
        keys_words = f"{found['keys']} files with keys" if found["keys"] else "no keys"
        print(f"mesh: {words}, {keys_words}", file=sys.stderr)

    return run(work)


@hub.command
def restore(source: Path, *, directory: HubDir = None, nats: Nats = None, json: Json = False) -> int:
    """Restore a backup: the keys into the folder of a hub that is not there yet, all else into a server without arenas.

    The server of the hub runs while it is restored. Start the hub afterwards: mesh hub start.

    Example: mesh hub restore /backups/hub-2026-11-27
    """

    async def work() -> None:
        from anyio.to_thread import run_sync

        from mesh import settings
        from mesh_cli.history.hub_backup import checked_backup, restore_keys, restore_streams
        from mesh_cli.hub.own_server import reach_log
        from mesh_cli.render.step_progress import StepProgress

        listed = await run_sync(checked_backup, source)
        home = settings.home()
        settings.make_home(home)
        folder = (directory or home / "hub") if listed.keys else _folder_of(directory, home)
        has_new_keys = folder is not None and await run_sync(restore_keys, listed, source, folder)
        async with reach_log(folder, nats, make=True) as opened:
            with StepProgress() as progress:
                made = await restore_streams(opened, listed, source, lambda what: progress.at(f"restore: {what}"))
        if json:
            print_json({"keys": str(folder) if has_new_keys else None, "streams": made})
            return
        if lines := [*([str(folder)] if has_new_keys else []), *made]:
            print("\n".join(lines))
        there = len(listed.streams) - len(made)
        print(f"mesh: {len(made)} streams restored, {there} were there already", file=sys.stderr)

    return run(work)


def _folder_of(named: Path | None, home: Path) -> Path | None:
    """Return the folder of the hub, None where there is no hub, only a log."""
    from mesh.errors import BadInput

    folder = named or home / "hub"
    if (folder / "hub.json").is_file():
        return folder
    if named is not None:
        raise BadInput(f"{folder} is not the folder of a hub: it has no hub.json")
    return None
