"""The meaning of each field of the fact of pushed commits; a part of `mesh.meanings`."""

COMMIT_FIELDS: dict[str, dict[str, str]] = {
    "CommitPushed": {
        "commit": "Git commit; its objects stand beside the log under this hash.",
        "tree": "Git tree of the commit.",
        "parents": "All its parents, in the order of git.",
        "message": "Its message, cut where it is long.",
        "at": "Unix time at which its author made it, in seconds.",
        "bytes": "Bytes that are stored for it beside the log.",
        "base": "Commit whose objects its pack leaves out; empty if the pack has all.",
        "proposal": "Tree hash of the proposal that its editable files are; empty if it has none.",
    },
}
