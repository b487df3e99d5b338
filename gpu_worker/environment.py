"""The environment variables of the worker that its children may see. No key and no token is among them."""

import os

INHERITED = ("PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH")


def inherited() -> dict[str, str]:
    """Return the variables of this process that are passed on to supervisors and trials."""
    return {name: os.environ[name] for name in INHERITED if name in os.environ}
