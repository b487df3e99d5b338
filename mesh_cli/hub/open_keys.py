"""Looks for keys of a hub that other users of the machine can read."""

from mesh import settings
from mesh.accounts.hub_folder import HubFolder


def keys_open_to_others(hub: HubFolder) -> list[str]:
    """Return the files with keys that other users can read or change, as paths inside of the folder, sorted."""
    if settings.is_private(hub.folder):
        return []
    places = ("keys/*", "creds/*", "tls/*.key", "node-*/tls/*.key")
    secret = [path for place in places for path in hub.folder.glob(place)]
    return sorted(str(path.relative_to(hub.folder)) for path in secret if not settings.is_private(path))
