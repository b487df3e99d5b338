"""Says how many proposals are ruled out, and for what. Pure."""

from collections import Counter

from mesh.board import Board


def ruled_out_words(board: Board) -> str:
    """Return in a sentence how many proposals are ruled out, since which version, and for what; "" if none."""
    ruled = [proposal for proposal in board.proposals.values() if proposal.ruled_out]
    if not ruled:
        return ""
    reasons, count = Counter(proposal.ruled_out for proposal in ruled), len(ruled)
    [(first, most)], others = reasons.most_common(1), len(reasons) - 1
    more = f" ({most:,} of them), and {others} other {'reason' if others == 1 else 'reasons'}" if others else ""
    versions = sorted({proposal.ruled_since for proposal in ruled})
    since = f"version {versions[0]}" if len(versions) == 1 else f"versions {versions[0]} to {versions[-1]}"
    many = "1 proposal is" if count == 1 else f"{count:,} proposals are"
    return f"{many} ruled out since {since}, and {'counts' if count == 1 else 'count'} nowhere: {first}{more}"
