"""All that the board knows of one proposal, as text for people, fit for a terminal."""

from mesh.board import Board
from mesh.events import Failed, Scored
from mesh.leaderboard import interval, score_of, standing
from mesh.text import printable, short

RATIONALE = 2000
CRITIQUES = 20
RUNS = 40


def details_of(board: Board, tree: str) -> str:
    """Return what is known of a proposal: who and why, how it stands, its knobs, critiques and runs."""
    proposal = board.proposals[tree]
    event = proposal.event
    row = next((row for row in standing(board) if row["proposal"] == tree), None)
    place = "no score yet" if row is None else f"rank {row['rank']}, {interval(row)}, {row['seeds']} seeds"
    lines = [
        printable(event.title),
        f"tree {tree}  commit {short(event.commit)}  #{proposal.seq}",
        f"by {printable(proposal.author, 40)} ({event.origin.how} {printable(event.origin.name, 40)})".replace(
            " )", ")"
        ),
        f"{board.spec.objective.metric} {score_of(board, tree)}, {place}, {proposal.verdict.replace('_', ' ')}",
        f"parents {', '.join(map(short, event.parents)) or 'none'}",
    ]
    if event.predicted_gain is not None:
        lines.append(f"predicted gain {event.predicted_gain:.4g}")
    if event.rationale:
        lines += ["", printable(event.rationale, RATIONALE)]
    if event.knobs:
        lines += [
            "",
            *(f"{printable(k.file)}: {printable(k.name)} {k.old} → {printable(str(k.new))}" for k in event.knobs),
        ]
    if proposal.critiques:
        lines.append("")
    for critique in proposal.critiques[:CRITIQUES]:
        lines.append(f"{critique.verdict}s ({printable(critique.author, 20)}): {printable(critique.text)}")
    if proposal.runs:
        lines.append("")
    for name in proposal.runs[-RUNS:]:
        run = board.runs[name]
        match run.finished.outcome if run.finished else None:
            case Scored(value=value):
                said = f"{value:.6g}"
            case Failed(reason=reason, message=message):
                said = f"{reason}: {printable(message, 200)}"
            case None:
                said = "runs" if run.attempts else "waits"
        lines.append(f"{printable(name, 60)} ({run.requested.lane}, seed {run.requested.seed}) {said}")
    return "\n".join(lines)
