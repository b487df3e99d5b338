"""Draw handwritten digits of writers who do not exist: 8 x 8 grey pixels from strokes, by a random generator.

A digit is a few smooth strokes through points of the unit square (x to the right, y down). The people of one random
state share shapes (points that are moved) and a bend of the plane, as if one school had taught them; a writer moves the
points further, and has a slant, a width and a pen; every drawing differs a little more. So whoever has this program,
but not the state, can draw digits of other people only.
"""

import numpy as np

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
SHAPES: dict[int, list[list[list[tuple[float, float]]]]] = {
    0: [
        [[(0.5, 0.0), (0.15, 0.2), (0.1, 0.6), (0.4, 1.0), (0.8, 0.8), (0.9, 0.4), (0.7, 0.05), (0.5, 0.0)]],
        [[(0.6, 0.05), (0.3, 0.3), (0.25, 0.7), (0.5, 1.0), (0.75, 0.7), (0.75, 0.3), (0.5, 0.0)]],
    ],
    1: [
        [[(0.3, 0.25), (0.55, 0.0), (0.55, 0.5), (0.55, 1.0)]],
        [[(0.5, 0.0), (0.5, 0.5), (0.5, 1.0)]],
        [[(0.3, 0.2), (0.55, 0.0), (0.55, 1.0)], [(0.25, 1.0), (0.85, 1.0)]],
    ],
    2: [
        [[(0.15, 0.25), (0.45, 0.0), (0.8, 0.2), (0.6, 0.6), (0.15, 1.0)], [(0.15, 1.0), (0.9, 1.0)]],
        [[(0.2, 0.1), (0.7, 0.05), (0.75, 0.4), (0.2, 0.9), (0.4, 0.85), (0.9, 1.0)]],
    ],
    3: [
        [[(0.2, 0.05), (0.7, 0.05), (0.75, 0.35), (0.4, 0.5), (0.8, 0.65), (0.7, 0.95), (0.15, 0.95)]],
        [[(0.15, 0.0), (0.85, 0.0), (0.45, 0.4), (0.85, 0.6), (0.7, 0.95), (0.2, 1.0)]],
    ],
    4: [
        [[(0.6, 0.0), (0.35, 0.35), (0.1, 0.65)], [(0.1, 0.65), (0.9, 0.65)], [(0.65, 0.35), (0.65, 1.0)]],
        [[(0.2, 0.0), (0.2, 0.45), (0.8, 0.5)], [(0.75, 0.05), (0.7, 0.5), (0.7, 1.0)]],
    ],
    5: [
        [[(0.8, 0.0), (0.25, 0.0)], [(0.25, 0.0), (0.2, 0.45), (0.65, 0.4), (0.8, 0.7), (0.5, 1.0), (0.15, 0.9)]],
        [[(0.3, 0.05), (0.3, 0.4), (0.75, 0.5), (0.7, 0.9), (0.2, 1.0)], [(0.3, 0.05), (0.85, 0.0)]],
    ],
    6: [
        [[(0.7, 0.0), (0.3, 0.3), (0.15, 0.7), (0.45, 1.0), (0.8, 0.75), (0.55, 0.5), (0.2, 0.7)]],
        [[(0.4, 0.0), (0.25, 0.5), (0.3, 0.95), (0.7, 0.9), (0.7, 0.6), (0.3, 0.6)]],
    ],
    7: [
        [[(0.1, 0.0), (0.9, 0.0)], [(0.9, 0.0), (0.6, 0.5), (0.4, 1.0)]],
        [[(0.15, 0.1), (0.85, 0.05)], [(0.85, 0.05), (0.55, 0.5), (0.45, 1.0)], [(0.25, 0.5), (0.8, 0.5)]],
    ],
    8: [
        [
            [(0.5, 0.5), (0.2, 0.25), (0.5, 0.0), (0.8, 0.25), (0.5, 0.5), (0.15, 0.75), (0.5, 1.0), (0.85, 0.75)],
            [(0.85, 0.75), (0.5, 0.5)],
        ],
        [[(0.75, 0.1), (0.3, 0.1), (0.35, 0.4), (0.7, 0.65), (0.6, 1.0), (0.25, 0.85), (0.45, 0.5), (0.75, 0.1)]],
    ],
    9: [
        [[(0.75, 0.3), (0.45, 0.5), (0.2, 0.25), (0.5, 0.0), (0.75, 0.25)], [(0.75, 0.25), (0.7, 0.65), (0.5, 1.0)]],
        [[(0.7, 0.1), (0.3, 0.1), (0.3, 0.4), (0.7, 0.4), (0.75, 0.1)], [(0.75, 0.1), (0.75, 0.6), (0.75, 1.0)]],
    ],
}
"""Digit: the ways to write it, each a list of strokes, each a list of points."""
PER_STROKE = 20  # points of a stroke that leave ink
SIZE = 8


class People:
    """What all writers of one random state share: the shapes that they learnt, and a bend of the plane."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.ways = {
            digit: [[_moved(stroke, 0.06, rng) for stroke in way] for way in ways] for digit, ways in SHAPES.items()
        }
        self.waves, self.phases = rng.normal(0, 2.5, (2, 2)), rng.uniform(0, 2 * np.pi, 2)

    def bend(self, ink: Floats) -> Floats:
        """Return points `(n, 2)` where the bent plane has them."""
        return ink + 0.05 * np.sin(ink @ self.waves + self.phases)


class Writer:
    """Somebody's hand: draws any digit, a little differently each time."""

    def __init__(self, people: People, rng: np.random.Generator) -> None:
        self.people, self.rng = people, rng
        self.slant, self.turn = rng.normal(0, 0.15), rng.normal(0, 0.07)
        self.width, self.height = rng.uniform(0.75, 1.05), rng.uniform(0.9, 1.1)
        self.pen = rng.uniform(0.04, 0.065)
        self.shapes = {
            digit: [_moved(stroke, 0.04, rng) for stroke in ways[rng.integers(len(ways))]]
            for digit, ways in people.ways.items()
        }

    def draw(self, digit: int) -> Floats:
        """Return a drawing: `(64,)` pixels between 0 and 1, in steps of 1/16."""
        rng = self.rng
        ink = np.concatenate([_smooth(_moved(stroke, 0.025, rng)) for stroke in self.shapes[digit]]) - 0.5
        turn, slant = self.turn + rng.normal(0, 0.06), self.slant + rng.normal(0, 0.06)
        scale = np.array([self.width, self.height]) * rng.normal(1, 0.05, 2)
        ink = ink * scale @ np.array([[1, 0], [-slant, 1]])
        ink = ink @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        ink = self.people.bend(0.5 + 0.8 * ink + rng.normal(0, 0.025, 2))
        pixels = (np.arange(SIZE) + 0.5) / SIZE
        across = np.exp(-((pixels - ink[:, :1]) ** 2) / (2 * self.pen**2))
        down = np.exp(-((pixels - ink[:, 1:]) ** 2) / (2 * self.pen**2))
        grey = 1 - np.exp(-1.1 * np.einsum("ny,nx->yx", down, across) / (PER_STROKE / 8))
        grey = grey * rng.uniform(0.8, 1.15) + rng.normal(0, 0.05, grey.shape)
        return np.round(16 * np.clip(grey, 0, 1)).ravel() / 16


def draw(count: int, writers: int, people: People, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Return `(count, 64)` drawings by some writers, and what they are: `(count,)`, all digits equally often."""
    hands = [Writer(people, rng) for _ in range(writers)]
    digits = rng.permutation(np.arange(count) % 10)
    drawings = [hands[rng.integers(writers)].draw(int(digit)) for digit in digits]
    return np.stack(drawings), digits


def _moved(stroke: "list[tuple[float, float]] | Floats", by: float, rng: np.random.Generator) -> Floats:
    points = np.asarray(stroke, dtype=float)
    return points + rng.normal(0, by, points.shape)


def _smooth(points: Floats) -> Floats:
    """Return points along a Catmull-Rom curve through the given ones, evenly many per piece."""
    if len(points) == 2:
        share = np.linspace(0, 1, PER_STROKE)[:, None]
        return points[0] * (1 - share) + points[1] * share
    ends = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    pieces = len(points) - 1
    place = np.linspace(0, pieces, PER_STROKE * 2, endpoint=False)
    n, t = place.astype(int), (place % 1)[:, None]
    a, b, c, d = ends[n], ends[n + 1], ends[n + 2], ends[n + 3]
    return 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
