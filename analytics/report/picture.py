"""The progress picture as matplotlib draws it: every run, the champion's staircase, labels, runs without a score."""

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from analytics.report.data import FinishedRun, Promotion, ReportData
from analytics.report.formatting import decimals, half, harmless, score_text
from analytics.report.scale import LABELS, labelled, score_range, spread
from mesh.events import PROOF
from mesh.outcomes import reason_words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PLOT, _TITLE, LETTERS = 3.9, 0.28, 150
"""Inches: the plot's height, the height of a title; letters of a line of text."""
ROW = 0.17
"""Inches of the row of one kind of failure."""
_MANY = 2000
"""Runs from which on their dots are drawn as an image."""
INK, MUTED, LINE, PAPER = "#111213", "#606162", "#d7d8d9", "#fefefd"
GREY, GREEN, BLUE, ORANGE, RED, PURPLE = "#8c8c8c", "#009e73", "#56b4e9", "#e69f00", "#d55e00", "#cc79a7"
"""A grey and colours of Okabe and Ito's palette, which colour-blind people tell apart."""
REASONS = (
    *("crash", "timeout", "over_budget", "out_of_memory", "no_score", "bad_score", "lost", "killed"),
    *("infeasible", "screened_out"),
)
CHAR = 5.1  # a character of a label is about so many points wide
SLANT, STEM, APART = 28, 20.0, 21.0
"""Labels: the angle in degrees, the height of the line to it and the distance between two in points."""


class Shape(msgspec.Struct, frozen=True):
    """How wide a picture is, and what it has room for. All lengths are inches.

    Args:
        width: the picture.
        left: the margin with the scale.
        right: the margin with the champion's mean.
        below: the margin with the legend.
        columns: columns of the legend.
        labels: champions whose titles are shown, at most.
        title_chars: letters of such a title.
    """

    width: float
    left: float
    right: float
    below: float
    columns: int
    labels: int
    title_chars: int


BROAD = Shape(width=11.0, left=0.9, right=1.35, below=0.95, columns=6, labels=LABELS, title_chars=34)
NARROW = Shape(width=4.1, left=0.65, right=1.1, below=1.3, columns=2, labels=5, title_chars=24)
"""For a phone, whose screen shows letters of this picture in about their own size."""


class Picture:
    """Draws one picture on a matplotlib figure."""

    def __init__(self, data: ReportData, figure: "Figure", shape: Shape = BROAD) -> None:
        self._data, self._figure, self._shape = data, figure, shape
        self._places = decimals(data)
        self._low, self._high = score_range(data)
        self._is_many = len(data.runs) > _MANY
        self._about = "about " if data.is_thinned else ""
        self._right = max(1, data.finished) * 1.005 + 0.5
        self._shown = labelled(data.promotions, shape.labels) if data.runs else []

    def draw(self, title: str, headline: str) -> None:
        """Draw everything; the figure gets the height that it takes."""
        runs = [(run.number, run) for run in self._data.runs]
        reasons = [r for r in REASONS if any(run.reason == r for _, run in runs)]
        text = textwrap.wrap(headline, LETTERS)
        heading = _TITLE + ROW * len(text) if title else 0.0
        left_in, right_in, below, width = self._shape.left, self._shape.right, self._shape.below, self._shape.width
        strip, above = ROW * len(reasons), heading + self._room_for_labels() + 0.1
        height = below + strip + PLOT + above
        self._figure.set_size_inches(width, height)
        left, across = left_in / width, 1 - (left_in + right_in) / width
        axes = self._figure.add_axes((left, (below + strip) / height, across, PLOT / height))
        if title:
            self._figure.text(left, 1 - 0.1 / height, title, fontsize=11, weight="bold", va="top")
            self._figure.text(
                left, 1 - (_TITLE + 0.05) / height, "\n".join(text), fontsize=9, va="top", linespacing=1.25
            )
        self._scores(axes, runs)
        self._staircase(axes)
        self._labels(axes)
        if reasons:
            ticks = self._figure.add_axes((left, below / height, across, strip / height), sharex=axes)
            self._failures(ticks, runs, reasons)
            axes.tick_params(labelbottom=False, bottom=False)
        (ticks if reasons else axes).set_xlabel("finished runs, in order")
        self._legend(axes, left)

    def _room_for_labels(self) -> float:
        """Return the inches above the plot that slanted labels need."""
        longest = max((len(self._words(p)) for p in self._shown), default=0)
        return (STEM + longest * CHAR * math.sin(math.radians(SLANT)) + 8) / 72 if longest else 0.1

    def _words(self, promotion: Promotion) -> str:
        return f"{promotion.number}  {harmless(promotion.title, self._shape.title_chars)}"

    def _legend(self, axes: "Axes", left: float) -> None:
        handles, words = axes.get_legend_handles_labels()
        if handles:
            legend = self._figure.legend(
                handles, words, loc="lower left", bbox_to_anchor=(left - 0.008 if self._shape is BROAD else 0.0, 0.0),
                ncols=self._shape.columns, frameon=False,
                fontsize=8, handletextpad=0.4, columnspacing=1.5,
            )  # fmt: skip
            for handle in legend.legend_handles:
                if handle is not None:
                    handle.set(**({"sizes": [26]} if hasattr(handle, "set_sizes") else {}), alpha=1.0)

    def _scores(self, axes: "Axes", runs: Sequence[tuple[int, FinishedRun]]) -> None:
        from matplotlib.ticker import MaxNLocator, StrMethodFormatter

        goal = self._data.goal
        axes.set_xlim(0, self._right)
        axes.xaxis.set_major_locator(
            MaxNLocator(nbins=9 if self._shape is BROAD else 4, integer=True, steps=[1, 2, 2.5, 5, 10])
        )
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.set_ylim(self._low, self._high)
        axes.ticklabel_format(axis="y", useOffset=False)
        axes.set_ylabel(harmless(goal.metric, 40) + (" (higher is better)" if goal.sign > 0 else " (lower is better)"))
        axes.grid(axis="y", color=LINE, linewidth=0.6)
        axes.set_axisbelow(True)
        scored = [(number, run) for number, run in runs if run.value is not None]
        if not scored:
            axes.text(
                0.5, 0.5, "no run has a score yet", transform=axes.transAxes, ha="center", color=MUTED, fontsize=12
            )
            axes.set_yticks([])
        size = max(3.0, min(26.0, 26.0 * (150 / max(150, len(scored))) ** 0.45))
        faint = max(0.25, min(0.75, (400 / max(1, len(scored))) ** 0.3))
        search = [(n, r) for n, r in scored if r.lane not in PROOF]
        self._dots(axes, [s for s in search if not s[1].kept], "search", size, GREY, faint, "o", filled=True)
        confirm, control = ([(n, r) for n, r in scored if r.lane == lane] for lane in ("confirm", "control"))
        self._dots(axes, confirm, "confirmation", size, BLUE, max(0.35, faint), "o", filled=False)
        self._dots(axes, control, "control", size * 1.2, ORANGE, 0.9, "D", filled=False)
        self._dots(axes, [s for s in search if s[1].kept], "led to a champion", 30, GREEN, 1.0, "o", filled=True)
        self._beyond(axes, scored)
        self._frontier(axes, scored)

    def _dots(
        self, axes: "Axes", dots: Sequence[tuple[int, FinishedRun]], what: str, size: float, colour: str, alpha: float,
        marker: str, *, filled: bool,
    ) -> None:  # fmt: skip
        if not dots:
            return
        inside = [(n, r.value) for n, r in dots if r.value is not None and self._low <= r.value <= self._high]
        axes.scatter(
            [number for number, _ in inside],
            [value for _, value in inside],
            s=size,
            marker=marker,
            facecolors=colour if filled else "none",
            edgecolors="none" if filled else colour,
            linewidths=0.8,
            alpha=alpha,
            label=f"{what} ({sum(run.count for _, run in dots):,})",
            rasterized=self._is_many,
            zorder=3 if filled and alpha == 1.0 else 2,
        )

    def _beyond(self, axes: "Axes", scored: Sequence[tuple[int, FinishedRun]]) -> None:
        """Write beside the plot how many scores are outside of it, and the baseline if it is."""
        values = [(run.value, run.count) for _, run in scored if run.value is not None]
        above, below = (sum(n for v, n in values if v > self._high), sum(n for v, n in values if v < self._low))
        baseline, about = self._data.baseline.mean, self._about
        for words, number, outside, at in (
            (f"↑ {about}{above:,} above", above, baseline is not None and baseline > self._high, (1.0, "top")),
            (f"↓ {about}{below:,} below", below, baseline is not None and baseline < self._low, (0.0, "bottom")),
        ):
            if number:
                text = f"{words}\nbaseline at {score_text(baseline, self._places)}" if outside else words
                self._beside(axes, text, at[0], axes.transAxes, at[1])

    def _beside(self, axes: "Axes", words: str, at: float, how: Any, place: str = "center", **style: Any) -> None:
        """Write words into the right margin."""
        look = {"color": MUTED, "fontsize": 7.5, **style}
        axes.annotate(words, (1.0, at), xycoords=how, xytext=(6, 0), textcoords="offset points", va=place, **look)

    def _frontier(self, axes: "Axes", scored: Sequence[tuple[int, FinishedRun]]) -> None:
        sign, best = self._data.goal.sign, None
        xs: list[float] = []
        ys: list[float] = []
        for number, run in scored:
            if run.value is not None and (best is None or sign * run.value > sign * best):
                best = run.value
                xs.append(number)
                ys.append(self._near(best))
        if best is not None:
            xs, ys = [*xs, self._right], [*ys, self._near(best)]
            axes.plot(xs, ys, drawstyle="steps-post", color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)), zorder=3,
                      label="best single score")  # fmt: skip

    def _staircase(self, axes: "Axes") -> None:
        reigns = self._reigns()
        for begin, end, promotion in reigns:
            value = promotion.value
            if value.low is not None and value.high is not None:
                low, high = self._near(value.low), self._near(value.high)
                axes.fill_between([begin, end], low, high, color=GREEN, alpha=0.22, linewidth=0, zorder=3)
        known = [(b, e, self._near(p.value.mean)) for b, e, p in reigns if p.value.mean is not None]
        if not known:
            return
        xs = [x for begin, end, _ in known for x in (begin, end)]
        ys = [mean for *_, mean in known for _ in (0, 1)]
        axes.plot(
            xs,
            ys,
            color=GREEN,
            linewidth=2.0,
            zorder=4,
            label="champion's mean" + ("" if self._data.goal.exact else ", 95 % interval"),
            solid_joinstyle="miter",
        )
        last = reigns[-1][2].value
        if last.mean is not None and self._low <= last.mean <= self._high:
            width = half(last)
            words = score_text(last.mean, self._places) + ("*" if last.self_reported else "")
            words += f"\n± {score_text(width, self._places)}" if width is not None else ""
            self._beside(axes, words, last.mean, axes.get_yaxis_transform(), color=GREEN, weight="bold", fontsize=10)

    def _near(self, value: float) -> float:
        """Return a value no further outside of the picture than it is high: what draws lines takes no 1e300."""
        height = self._high - self._low
        return min(max(value, self._low - height), self._high + height)

    def _reigns(self) -> list[tuple[float, float, Promotion]]:
        promotions = self._data.promotions
        ends = [*(float(p.after_runs) for p in promotions[1:]), self._right]
        return [(float(p.after_runs), max(end, p.after_runs), p) for p, end in zip(promotions, ends, strict=False)]

    def _labels(self, axes: "Axes") -> None:
        """Write titles above the picture, slanted, each with a line down to its step."""
        if not self._shown:
            return
        points = self._right / ((self._shape.width - self._shape.left - self._shape.right) * 72)
        widest = max(len(self._words(p)) for p in self._shown[-2:]) * CHAR * math.cos(math.radians(SLANT))
        room = self._right - max(0.0, widest - self._shape.right * 72) * points
        places = spread([float(p.after_runs) for p in self._shown], APART * points, 0.0, room)
        blend, stem = axes.get_xaxis_transform(), 1 + STEM / (PLOT * 72)
        for promotion, place in zip(self._shown, places, strict=True):
            at, mean = float(promotion.after_runs), promotion.value.mean
            axes.text(place, stem + 0.01, self._words(promotion), transform=blend, rotation=SLANT,
                      rotation_mode="anchor", fontsize=8, ha="left", va="bottom", clip_on=False)  # fmt: skip
            axes.plot([at, at, place], [0.995, 1.0, stem], transform=blend, color=MUTED, linewidth=0.6, clip_on=False)
            reach = self._high if mean is None else min(max(mean, self._low), self._high)
            axes.plot([at, at], [reach, self._high], color=MUTED, linewidth=0.6, alpha=0.55, zorder=2.5)
            if mean is not None and self._low <= mean <= self._high:
                axes.plot([at], [mean], marker="o", markersize=5, color=GREEN, markeredgecolor=PAPER, zorder=5)

    def _failures(self, axes: "Axes", runs: Sequence[tuple[int, FinishedRun]], reasons: Sequence[str]) -> None:
        axes.set_ylim(len(reasons) - 0.5, -0.5)
        for row, reason in enumerate(reasons):
            at = [number for number, run in runs if run.reason == reason]
            colour = PURPLE if reason == "killed" else RED
            thin = 1.0 if len(at) < 200 else 0.5
            axes.vlines(at, row - 0.38, row + 0.38, color=colour, linewidth=thin, rasterized=self._is_many)
            words = f"{reason_words(reason)} ({sum(run.count for _, run in runs if run.reason == reason):,})"
            self._beside(axes, words, row, axes.get_yaxis_transform())
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
