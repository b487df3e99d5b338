"""The `mesh.toml` of a checkout, with which every command finds the arena from that folder."""

import json
from pathlib import Path

from gateway.checkout_folder import SETTINGS
from mesh import settings
from mesh.atomic_write import atomic_write
from mesh.errors import HostTrouble


def settings_text(arena: str, nats: str | None) -> str:
    """Return the settings with which a checkout finds its arena.

    A server from the user's own files and contexts is found without being written down. Credentials go only with the
    server that the same file names.

    Args:
        arena: The arena.
        nats: The option `--nats`, None if it was not given.
    """
    values, project = settings.values(nats=nats), settings.project_file()
    own = {"--nats", "MESH_NATS", str(project)}
    lines = [f"arena = {_text(arena)}", f"home = {_text(str(settings.home()))}"]
    if values["nats"].value and values["nats"].source in own:
        lines.append(f"nats = {_text(values['nats'].value)}")
        if values["credentials"].value and values["credentials"].source == values["nats"].source == str(project):
            lines.append(f"credentials = {_text(str(settings.credentials(nats)))}")
    return "# Written by `mesh checkout`, so that commands in this folder find its arena.\n" + "\n".join(lines) + "\n"


def write_settings(folder: Path, text: str) -> None:
    """Write the settings of a checkout, unless its folder has some.

    Raises:
        HostTrouble: they cannot be written.
    """
    path = folder / SETTINGS
    if path.exists():
        return
    try:
        with atomic_write(path, private=True) as beside:
            beside.write_text(text, encoding="utf-8")
    except OSError as error:
        raise HostTrouble(f"{path} cannot be written: {error.strerror or error}") from None


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)
