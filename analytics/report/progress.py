"""The progress picture: every run, kept or not, and the champion so far with its interval; as SVG or PNG.

Drawn by matplotlib without a display. The same data give the same bytes. Where there are many runs their dots are one
image inside the SVG, which stays small. In the SVG, ink and lines are colours of the page (CSS variables), so that it
reads on light and on dark.
"""

import io
import logging
import warnings
from typing import Any

from analytics.report.data import ReportData
from analytics.report.picture import BROAD, INK, LINE, MUTED, NARROW, PAPER, PLOT, Picture, Shape
from mesh.errors import BadInput

__all__ = ["BROAD", "NARROW", "png", "svg"]
DPI = {"png": 150, "svg": 120}  # of the SVG only dots that are an image
VARIABLES = {INK: "var(--ink)", MUTED: "var(--muted)", LINE: "var(--line)", PAPER: "var(--paper)"}
STYLE: Any = {
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    "svg.fonttype": "none",
    "text.parse_math": False,
    "axes.facecolor": "none",
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def svg(data: ReportData, shape: Shape = BROAD) -> str:
    """Return the picture as an SVG element for a page that defines its CSS variables.

    The ids inside of it depend on the shape, so that one page may have several pictures.

    Raises: as `png`.
    """
    text = _drawn(data, "svg", shape=shape).decode()
    for colour, variable in VARIABLES.items():
        text = text.replace(colour, variable)
    return text[text.index("<svg") :].replace("'DejaVu Sans'", "system-ui, sans-serif")


def png(data: ReportData, title: str, headline: str) -> bytes:
    """Return the picture as PNG, below a title and a headline.

    Raises:
        BadInput: matplotlib is not installed.
    """
    return _drawn(data, "png", title, headline)


def _drawn(data: ReportData, form: str, title: str = "", headline: str = "", shape: Shape = BROAD) -> bytes:
    # A missing character is drawn as a box and a font cache may be rebuilt: neither needs a warning on stderr.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    try:
        import matplotlib
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise BadInput("a picture needs matplotlib: pip install 'mesh-swarm[report]', or name a .md file") from None
    with warnings.catch_warnings(), matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE | {"svg.hashsalt": f"mesh report {shape.width:g}"})
        warnings.simplefilter("ignore")
        figure = Figure(figsize=(shape.width, PLOT), facecolor=PAPER if form == "png" else "none")
        FigureCanvasAgg(figure)
        Picture(data, figure, shape).draw(title, headline)
        out = io.BytesIO()
        metadata = (
            {"Software": None} if form == "png" else {"Date": None, "Creator": None, "Format": None, "Type": None}
        )
        figure.savefig(out, format=form, dpi=DPI[form], metadata=metadata)
    return out.getvalue()
