"""What a log and its objects cost by their size: the server's memory, its restart, posts, reads, disk; and compaction.

Two sizes are measured on a real server (`benchmarks.parts.log_at_size`), each against an empty arena of the same
server, in turns; any other size can be had with `python -m benchmarks.parts.log_at_size FACTS OBJECTS`. `post_*` are
posts one by one at sync `always`, `refused_*` posts whose key is taken, `get_*` entries by chance by their sequence.
`mb_per_million` is what a million facts more add to the server's memory after a restart. `compact.*` is what
`mesh compact` does to retired proposals (`benchmarks.parts.compacting`).
"""

from benchmarks.parts.harness import Figures, Goal, in_a_process, say, told

GOALS: dict[str, Goal] = {
    "small.post_p50_ratio": ("<=", 1.5),
    "large.post_p50_ratio": ("<=", 1.5),
    "large.refused_p50_ratio": ("<=", 1.5),
    "compact.lost": ("==", 0),
    "compact.again_objects": ("==", 0),
    "compact.messages_left": ("<=", 0.05),
}


async def measure(quick: bool) -> Figures:
    """Return the figures of both sizes and of a compaction."""
    sizes = {"small": (10_000, 2_000), "large": (100_000, 20_000)}
    proposals = 2_000
    if not quick:
        sizes, proposals = {"small": (100_000, 10_000), "large": (1_000_000, 100_000)}, 20_000
    figures: Figures = {}
    for name, (facts, objects) in sizes.items():
        say(f"{facts:,} facts and {objects:,} objects")
        found = await in_a_process("benchmarks.parts.log_at_size", str(facts), str(objects))
        say(told(found))
        figures |= {f"{name}.{key}": value for key, value in found.items()}
    more = figures["large.started_after_kill_mb"] - figures["small.started_after_kill_mb"]
    figures["mb_per_million"] = more / (figures["large.facts"] - figures["small.facts"]) * 1e6
    say(f"the code of {proposals:,} proposals")
    found = await in_a_process("benchmarks.parts.compacting", str(proposals))
    figures |= {f"compact.{key}": value for key, value in found.items()}
    figures["compact.messages_left"] = found["after_messages"] / found["before_messages"]
    return figures
