"""Outlines as lists of points in object units: x from -0.5 to 0.5 about the centre, y from 0 (top) to 1 (ground)."""

import math
from collections.abc import Sequence

Point = tuple[float, float]
Outline = list[Point]


def ellipse(cx: float, cy: float, rx: float, ry: float, turn: float = 0.0) -> Outline:
    """An ellipse about (cx, cy), turned by `turn` degrees."""
    cos, sin = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    angles = [2 * math.pi * step / 48 for step in range(48)]
    flat = [(rx * math.cos(angle), ry * math.sin(angle)) for angle in angles]
    return [(cx + x * cos - y * sin, cy + x * sin + y * cos) for x, y in flat]


def rounded(x0: float, y0: float, x1: float, y1: float, radius: float) -> Outline:
    """A rectangle with rounded corners."""
    radius = min(radius, abs(x1 - x0) / 2, abs(y1 - y0) / 2)
    corners = (
        (x1 - radius, y0 + radius, -90),
        (x1 - radius, y1 - radius, 0),
        (x0 + radius, y1 - radius, 90),
        (x0 + radius, y0 + radius, 180),
    )
    return [
        (
            cx + radius * math.cos(math.radians(start + step * 11.25)),
            cy + radius * math.sin(math.radians(start + step * 11.25)),
        )
        for cx, cy, start in corners
        for step in range(9)
    ]


def curve(points: Sequence[Point], closed: bool = False, steps: int = 10) -> Outline:
    """A Catmull-Rom curve through the points."""
    count = len(points)
    segments = range(count) if closed else range(count - 1)
    outline = []
    for segment in segments:
        indices = range(segment - 1, segment + 3)
        a, b, c, d = (points[index % count if closed else min(max(index, 0), count - 1)] for index in indices)
        outline += [_between(a, b, c, d, step / steps) for step in range(steps)]
    return outline if closed else [*outline, points[-1]]


def _between(a: Point, b: Point, c: Point, d: Point, t: float) -> Point:
    """The point a fraction t of the way from b to c on the curve through a, b, c, d."""

    def along(p: float, q: float, r: float, s: float) -> float:
        return 0.5 * (2 * q + (r - p) * t + (2 * p - 5 * q + 4 * r - s) * t * t + (3 * q - p - 3 * r + s) * t * t * t)

    return along(a[0], b[0], c[0], d[0]), along(a[1], b[1], c[1], d[1])


def blob(points: Sequence[Point]) -> Outline:
    """A smooth closed shape through the points."""
    return curve(points, closed=True)


def mirrored(right: Sequence[Point]) -> Outline:
    """A smooth closed shape, symmetric about x = 0, from its right half listed from top to bottom."""
    before = [(-right[1][0], right[1][1])] if right[0][0] == 0 else [right[0]]
    after = [(-right[-2][0], right[-2][1])] if right[-1][0] == 0 else [right[-1]]
    line = [*before, *right, *after]
    smooth = [
        _between(line[segment], line[segment + 1], line[segment + 2], line[segment + 3], step / 10)
        for segment in range(len(right) - 1)
        for step in range(10)
    ]
    smooth.append(right[-1])
    return smooth + [(-x, y) for x, y in reversed(smooth)]


def flipped(outline: Sequence[Point]) -> Outline:
    """The outline mirrored about x = 0."""
    return [(-x, y) for x, y in outline]


def ribbon(points: Sequence[Point], width: float) -> Outline:
    """A band of the given width along a smooth line, with straight ends."""
    line = curve(points)
    left, right = [], []
    for index, (x, y) in enumerate(line):
        (x0, y0), (x1, y1) = line[max(index - 1, 0)], line[min(index + 1, len(line) - 1)]
        length = math.hypot(x1 - x0, y1 - y0) or 1.0
        nx, ny = -(y1 - y0) / length * width / 2, (x1 - x0) / length * width / 2
        left.append((x + nx, y + ny))
        right.append((x - nx, y - ny))
    return left + right[::-1]


def star(cx: float, cy: float, radius: float, points: int = 5, inner: float = 0.45) -> Outline:
    """A star with the given number of points."""
    angles = [math.pi * step / points - math.pi / 2 for step in range(2 * points)]
    radii = [radius if step % 2 == 0 else radius * inner for step in range(2 * points)]
    return [(cx + r * math.cos(angle), cy + r * math.sin(angle)) for r, angle in zip(radii, angles, strict=True)]
