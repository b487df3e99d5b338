"""What a run of a coding agent came to: why there is no proposal, in one sentence. Pure."""

from agents.coding.agent import RunLimits
from agents.coding.printed import Printed, read_printed
from agents.coding.run_folder import FolderChanges
from mesh.agent.command_runner import CommandEnd

_SAID = 200
_LEAST_MINUTES = 2


def what_went_wrong(
    agent: str, end: CommandEnd, printed: Printed, changes: FolderChanges, limits: RunLimits
) -> tuple[str, bool]:
    """Return why a run has no proposal, "" if it may have one, and whether the agent worked at all.

    An agent that did not work, because it is not there, hangs or is refused by its provider, is tried again after a
    pause that doubles. One that worked for nothing is tried again soon, and told why.

    Args:
        agent: how it is called.
        end: how its command ended.
        printed: what it printed.
        changes: what it changed.
        limits: what it was allowed to take.
    """
    if end.why:
        said = f"; it said: {printed.trouble[:_SAID]}" if printed.trouble else ""
        return f"{agent} {_stopped(end, limits)}; what it had changed is not used{said}", False
    if end.rc != 0:
        last = printed.trouble or read_printed(end.err).trouble or _last(end.err) or _last(end.out) or "it said nothing"
        code = end.rc or 0
        how = f"ended with exit code {code}" if code > 0 else f"was ended by signal {-code}"
        return f"{agent} {how}: {last}", False
    if printed.trouble:
        return f"{agent} reports a failure: {printed.trouble[:_SAID]}", False
    if changes.files:
        return "", True
    if changes.unreadable:
        return (
            f"{agent} left {changes.unreadable[0]} as a link, a pipe or too large a file; write plain files",
            True,
        )
    if changes.deleted:
        return f"{agent} deleted {', '.join(changes.deleted[:3])}; a proposal cannot delete files", True
    if changes.protected:
        return f"{agent} changed only protected files ({', '.join(changes.protected[:3])}); change editable ones", True
    return f"{agent} changed no editable file", True


def _stopped(end: CommandEnd, limits: RunLimits) -> str:
    minutes = limits.seconds / 60
    time = f"{minutes:g} minutes" if minutes >= _LEAST_MINUTES else f"{limits.seconds:g} s"
    match end.why:
        case "deadline":
            return f"did not end within {time} and was ended with all that it had started"
        case "memory":
            return f"used more than {limits.memory_mb / 1024:g} GB of memory and was ended"
        case "disk":
            return f"filled its folder with more than {limits.disk_mb / 1024:g} GB and was ended"
        case "processes":
            return "started too many processes and was ended"
        case "output":
            return "printed too much and was ended"
        case "start":
            return f"could not be started: {_last(end.err)}"
        case _:
            return f"was ended from outside: {_last(end.err) or 'its supervisor is gone'}"


def _last(text: str) -> str:
    lines = text.strip().splitlines()
    return " ".join(lines[-1].split())[:_SAID] if lines else ""
