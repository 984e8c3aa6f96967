"""Renders single MGG-stained cells as 100x oil immersion shows them (paper, Figure 1 and "Validating the DNN").

Shape shorthand in this module: D diameter of the cell in pixels; S side of its square patch, S = ceil(1.3 D).

The kinds overlap in size and color on purpose: a small monocyte is no larger than a large lymphocyte, a neutrophil's
cytoplasm may be as pale as a lymphocyte's. What distinguishes them is the nucleus (round, bean-shaped, lobed, none), as
for a technician.
"""

import dataclasses
import itertools
from collections.abc import Callable

import numpy as np
from scipy import ndimage

SUPERSAMPLING = 2

# Range of diameters relative to a white cell's typical 64 px (640 px wide field).
DIAMETERS_PX = {
    "lymphocyte": (46, 76),
    "monocyte": (64, 104),
    "neutrophil": (58, 88),
    "erythrocyte": (40, 58),
    "eosinophil": (60, 88),
    "plasma_cell": (58, 90),
    "mitosis": (64, 100),
}
RARE_KINDS = ("eosinophil", "plasma_cell", "mitosis")


@dataclasses.dataclass(frozen=True)
class Stain:
    """Colors of one slide, RGB 0..255 as float arrays [3]; each slide has its own.

    Attributes:
      background: empty field.
      nucleus: chromatin of white cells.
      pale_blue: cytoplasm of lymphocytes and monocytes.
      pink: cytoplasm of neutrophils.
      red_cell: erythrocytes, gray to red-pink.
      eosin: granules of eosinophils.
    """

    background: np.ndarray
    nucleus: np.ndarray
    pale_blue: np.ndarray
    pink: np.ndarray
    red_cell: np.ndarray
    eosin: np.ndarray


def random_stain(rng: np.random.Generator) -> Stain:
    """Samples the stain of a slide: one cast and strength for all colors, then each color."""
    cast = rng.normal(0, 5, 3)
    strength = rng.uniform(0.8, 1.12)

    def color(red: float, green: float, blue: float, spread: float = 7) -> np.ndarray:
        absorbed = (255 - np.array([red, green, blue])) * strength
        return np.clip(255 - absorbed + cast + rng.normal(0, spread, 3), 5, 252)

    gray_to_pink = rng.uniform(0, 1)
    red, green, blue = (1 - gray_to_pink) * np.array([172, 160, 166]) + gray_to_pink * np.array([214, 140, 146])
    return Stain(
        background=color(236, 229, 233, 4),
        nucleus=color(106, 50, 140, 10),
        pale_blue=color(168, 180, 222, 9),
        pink=color(220, 186, 208, 9),
        red_cell=color(red, green, blue, 6),
        eosin=color(226, 98, 84, 8),
    )


class _Canvas:
    """A square patch in polar and cartesian coordinates of its cell: radius 1 is the cell's outline before wobble."""

    def __init__(self, diameter_px: float, rng: np.random.Generator):
        self.side_px = int(np.ceil(diameter_px * 1.3))
        side = self.side_px * SUPERSAMPLING
        axis = (np.arange(side) + 0.5 - side / 2) / (diameter_px * SUPERSAMPLING / 2)
        angle = rng.uniform(0, 2 * np.pi)
        grid_y, grid_x = np.meshgrid(axis, axis, indexing="ij")
        self.x = np.cos(angle) * grid_x - np.sin(angle) * grid_y
        self.y = np.sin(angle) * grid_x + np.cos(angle) * grid_y
        self.edge = 2.2 / (diameter_px * SUPERSAMPLING / 2)
        self.rng = rng
        self.rgb = np.zeros((side, side, 3))
        self.alpha = np.zeros((side, side))

    def blob(self, center_x: float, center_y: float, radius_x: float, radius_y: float, wobble: float) -> np.ndarray:
        """Soft mask [side, side] of an ellipse with a wavy outline, 0..1."""
        x, y = (self.x - center_x) / radius_x, (self.y - center_y) / radius_y
        theta = np.arctan2(y, x)
        outline = np.ones_like(theta)
        for order in (2, 3, 4, 5):
            outline += wobble / order * self.rng.normal() * np.cos(order * theta + self.rng.uniform(0, 2 * np.pi))
        return self._soft((outline - np.hypot(x, y)) * min(radius_x, radius_y))

    def stroke(self, points: np.ndarray, half_width: float) -> np.ndarray:
        """Soft mask of a thick line through points [n, 2] (x, y)."""
        nearest = np.full_like(self.x, np.inf)
        for (x0, y0), (x1, y1) in itertools.pairwise(points):
            length_squared = max((x1 - x0) ** 2 + (y1 - y0) ** 2, 1e-9)
            along = np.clip(((self.x - x0) * (x1 - x0) + (self.y - y0) * (y1 - y0)) / length_squared, 0, 1)
            nearest = np.minimum(nearest, np.hypot(self.x - x0 - along * (x1 - x0), self.y - y0 - along * (y1 - y0)))
        return self._soft(half_width - nearest)

    def _soft(self, inside: np.ndarray) -> np.ndarray:
        return np.clip(0.5 + inside / (2 * self.edge), 0, 1)

    def texture(self, grain: float, amount: float) -> np.ndarray:
        """Smooth noise around 1, [side, side]; grain is its size as a share of the cell's radius."""
        sigma = max(grain / self.edge * 2.2, 0.6)
        # Wide noise is made on a coarse grid and stretched: its detail is smooth anyway.
        step = max(1, int(sigma / 1.5))
        side = len(self.x)
        coarse = ndimage.gaussian_filter(self.rng.normal(size=(side // step + 2,) * 2), sigma / step)
        noise = ndimage.zoom(coarse, step, order=1)[:side, :side] if step > 1 else coarse[:side, :side]
        return 1 + amount * noise / max(noise.std(), 1e-9)

    def paint(self, mask: np.ndarray, color: np.ndarray, shade: np.ndarray | float = 1.0) -> None:
        """Blends a color (times shade) over what is there; `rgb` is premultiplied by alpha."""
        layer = np.clip(np.asarray(color) * np.broadcast_to(shade, mask.shape)[..., None], 0, 255)
        self.rgb = self.rgb * (1 - mask[..., None]) + layer * mask[..., None]
        self.alpha = self.alpha * (1 - mask) + mask

    def finish(self) -> np.ndarray:
        """RGBA patch float [S, S, 4]: RGB 0..255, alpha 0..1."""
        premultiplied = np.concatenate([self.rgb, self.alpha[..., None]], axis=-1)
        shape = (self.side_px, SUPERSAMPLING, self.side_px, SUPERSAMPLING, 4)
        small = premultiplied.reshape(shape).mean(axis=(1, 3))
        small[..., :3] /= np.maximum(small[..., 3:], 1e-6)
        return small


def _cytoplasm(canvas: _Canvas, color: np.ndarray, wobble: float, grain: float = 0.08) -> np.ndarray:
    stretch = canvas.rng.uniform(0.9, 1.0)
    mask = canvas.blob(0, 0, 1, stretch, wobble)
    rim = np.clip((np.hypot(canvas.x, canvas.y) - 0.6) * 0.25, 0, 0.12)
    canvas.paint(mask, color, canvas.texture(grain, 0.03) - rim)
    return mask


def _lymphocyte(canvas: _Canvas, stain: Stain) -> None:
    rng = canvas.rng
    cell = _cytoplasm(canvas, stain.pale_blue, 0.03)
    radius = rng.uniform(0.68, 0.92)
    shift = rng.uniform(0, 0.9) * (0.97 - radius)
    nucleus = canvas.blob(shift, 0, radius, radius * rng.uniform(0.92, 1.0), 0.025) * cell
    canvas.paint(nucleus, stain.nucleus, canvas.texture(0.12, 0.11) * rng.uniform(0.92, 1.08))


def _monocyte(canvas: _Canvas, stain: Stain) -> None:
    rng = canvas.rng
    gray_blue = 0.72 * stain.pale_blue + 0.28 * np.array([196, 186, 196])
    cell = _cytoplasm(canvas, gray_blue, 0.07)
    for _ in range(rng.integers(0, 5)):
        angle, distance = rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 0.82)
        hole = canvas.blob(distance * np.cos(angle), distance * np.sin(angle), 0.07, 0.07, 0.1)
        canvas.paint(hole * cell, np.minimum(gray_blue * 1.14, 250))
    # A bean is a thick, short arc; its inner side stays open by at least a quarter of the cell.
    half_width = rng.uniform(0.26, 0.34)
    span, bend = rng.uniform(1.0, 1.9), rng.uniform(0.36, 0.5)
    turn = np.linspace(-span, span, 15)
    arc = np.stack([bend * np.cos(turn) - rng.uniform(0.0, 0.15), bend * np.sin(turn) * rng.uniform(1.0, 1.25)], axis=1)
    bean = canvas.stroke(arc, half_width) * cell
    canvas.paint(bean, stain.nucleus * rng.uniform(1.0, 1.16), canvas.texture(0.16, 0.08))


def _lobes(canvas: _Canvas, count: int, radius: tuple[float, float], spread: float) -> np.ndarray:
    """Mask of lobes on an arc, joined by thin strands."""
    rng = canvas.rng
    step = rng.uniform(1.15, 1.5)
    angles = np.cumsum(rng.uniform(0.85, 1.15, count) * step) + rng.uniform(0, 6)
    distance = spread * rng.uniform(0.85, 1.1, count)
    centers = np.stack([distance * np.cos(angles), distance * np.sin(angles)], axis=1)
    mask = canvas.stroke(centers, rng.uniform(0.045, 0.085))
    for center_x, center_y in centers:
        size = rng.uniform(*radius)
        mask = np.maximum(mask, canvas.blob(center_x, center_y, size, size * rng.uniform(0.75, 1.1), 0.09))
    return mask


def _neutrophil(canvas: _Canvas, stain: Stain) -> None:
    rng = canvas.rng
    blend = rng.uniform(0, 0.45)
    cell = _cytoplasm(canvas, (1 - blend) * stain.pink + blend * stain.pale_blue, 0.04, grain=0.03)
    count = int(rng.choice([2, 3, 4, 5], p=[0.14, 0.42, 0.32, 0.12]))
    radius = {2: (0.27, 0.36), 3: (0.23, 0.31), 4: (0.19, 0.27), 5: (0.17, 0.24)}[count]
    lobes = _lobes(canvas, count, radius, rng.uniform(0.4, 0.52)) * cell
    canvas.paint(lobes, stain.nucleus * rng.uniform(0.86, 1.0), canvas.texture(0.08, 0.09))


def _erythrocyte(canvas: _Canvas, stain: Stain) -> None:
    rng = canvas.rng
    disc = canvas.blob(0, 0, 1, rng.uniform(0.86, 1.0), 0.03 if rng.uniform() < 0.85 else 0.14)
    pallor = rng.uniform(0, 0.2) * np.exp(-((np.hypot(canvas.x, canvas.y) / rng.uniform(0.35, 0.6)) ** 2))
    canvas.paint(disc, stain.red_cell * rng.uniform(0.93, 1.06), canvas.texture(0.3, 0.015) + pallor)


def _eosinophil(canvas: _Canvas, stain: Stain) -> None:
    rng = canvas.rng
    cell = _cytoplasm(canvas, 0.6 * stain.pink + 0.4 * stain.eosin, 0.04)
    lobes = _lobes(canvas, int(rng.choice([2, 3], p=[0.8, 0.2])), (0.3, 0.38), 0.45) * cell
    for _ in range(rng.integers(60, 110)):
        angle, distance, size = rng.uniform(0, 2 * np.pi), np.sqrt(rng.uniform(0, 0.85)), rng.uniform(0.05, 0.08)
        x, y = distance * np.cos(angle), distance * np.sin(angle)
        canvas.paint(canvas.blob(x, y, size, size, 0) * cell, stain.eosin * rng.uniform(0.9, 1.1))
    canvas.paint(lobes, stain.nucleus, canvas.texture(0.1, 0.08))


def _plasma_cell(canvas: _Canvas, stain: Stain) -> None:
    rng = canvas.rng
    deep_blue = 0.55 * stain.pale_blue + 0.45 * np.array([70, 70, 170])
    cell = _cytoplasm(canvas, deep_blue, 0.05)
    radius, shift = rng.uniform(0.42, 0.52), rng.uniform(0.36, 0.46)
    canvas.paint(canvas.blob(shift - 0.16, 0, radius + 0.1, radius + 0.1, 0.05) * cell, stain.pale_blue)
    nucleus = canvas.blob(shift, 0, radius, radius, 0.03) * cell
    spokes = 1 + 0.22 * np.cos(7 * np.arctan2(canvas.y, canvas.x - shift))
    canvas.paint(nucleus, stain.nucleus, spokes)


def _mitosis(canvas: _Canvas, stain: Stain) -> None:
    rng = canvas.rng
    cell = _cytoplasm(canvas, 0.8 * stain.pale_blue + 0.2 * stain.pink, 0.05)
    plates = (0.0,) if rng.uniform() < 0.5 else (-rng.uniform(0.25, 0.4), rng.uniform(0.25, 0.4))
    for offset in plates:
        ragged = np.stack([offset + rng.normal(0, 0.06, 9), np.linspace(-0.55, 0.55, 9)], axis=1)
        canvas.paint(
            canvas.stroke(ragged, rng.uniform(0.1, 0.15)) * cell, stain.nucleus * 0.72, canvas.texture(0.06, 0.1)
        )


_RENDERERS: dict[str, Callable[[_Canvas, Stain], None]] = {
    "lymphocyte": _lymphocyte,
    "monocyte": _monocyte,
    "neutrophil": _neutrophil,
    "erythrocyte": _erythrocyte,
    "eosinophil": _eosinophil,
    "plasma_cell": _plasma_cell,
    "mitosis": _mitosis,
}


def render_cell(kind: str, diameter_px: float, stain: Stain, rng: np.random.Generator) -> np.ndarray:
    """Renders one cell, turned by a random angle.

    Args:
      kind: a key of `DIAMETERS_PX`.
      diameter_px: D.
      stain: colors of the slide.
      rng: source of every random choice; the same state gives the same pixels.

    Returns:
      float [S, S, 4]: RGB 0..255 and alpha 0..1; the cell lies in the middle.
    """
    canvas = _Canvas(diameter_px, rng)
    _RENDERERS[kind](canvas, stain)
    return canvas.finish()
