"""How much scores scatter between seeds, and what became of claimed scores on fresh seeds."""

from collections import Counter

from analytics.report.data import ReportData
from analytics.report.elements import Block, Section, table_block
from analytics.report.formatting import count, decimals, harmless, score_text


def noise_section(data: ReportData) -> Section:
    """Return the noise, and what became of claimed scores on fresh seeds."""
    title, places = "Noise and confirmations", decimals(data)
    if data.goal.exact:
        return Section(title, ['The metric is exact (noise = "none" in the arena): a score needs no confirmation.'])
    blocks: list[Block] = []
    rows = [
        (harmless(where, 40), score_text(sd, places), f"{dof:,}", f"{runs:,}", f"{proposals:,}")
        for where, proposals, runs, dof, sd in data.noise
    ]
    if rows:
        header = "worker class | standard deviation between seeds | degrees of freedom | runs | proposals"
        blocks.append(table_block(header, rows))
    else:
        blocks.append("Noise is not measured yet: no proposal has two fresh scores.")
    tried = [
        m
        for tree, m in data.measured.items()
        if m.fresh and m.claimed is not None and m.mean is not None and tree != data.goal.base_tree
    ]
    if not tried:
        return Section(title, [*blocks, "No claimed score was tested on fresh seeds yet."])
    states = Counter(m.state for m in tried)
    fell = f", {count(states['demoted'], 'was', 'were')} demoted later" if states["demoted"] else ""
    won, lost = states["champion"] + states["past_champion"], states["retired"]
    rest = len(tried) - won - lost - states["demoted"]
    blocks.append(
        f"{count(len(tried), 'proposal with a claimed score was', 'proposals with a claimed score were')} "
        f"tested on fresh seeds: "
        f"{won} became champion{fell}, "
        f"{count(lost, 'was', 'were')} retired{f', {rest} not decided' if rest else ''}."
    )
    luck = sum(data.goal.sign * ((m.claimed or 0.0) - (m.mean or 0.0)) for m in tried) / len(tried)
    direction = "better" if luck > 0 else "worse"
    blocks.append(
        f"On average, the claimed score was {score_text(abs(luck), places)} {direction} than the mean over fresh seeds."
    )
    return Section(title, blocks)
