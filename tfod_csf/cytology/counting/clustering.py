"""Cells of one kind lie together: how many independently drawn cells a patient's white cells are worth.

Shape shorthand in this module:
  I: images of a patient.
  K: white-cell classes.
  N: white cells on them; m_i of them on image i.

An interval for N independently drawn cells is too narrow where the cells of an image resemble each other. The design
effect (Kish 1965) is the variance of the shares when whole images are drawn, divided by that of N independent cells.
It is a closed form, the linearized variance of a ratio (Cochran 1977, chapter 6):

  e_ik = x_ik - p_k m_i                     cells of class k on image i beyond what the patient's shares give
  design effect = sum_ik e_ik^2 / (1 - m_i / N)  /  (N sum_k p_k (1 - p_k))

Division by 1 - m_i / N makes every image's term right on average when cells are independent, however unequal the
images are. One number is computed for all classes, as in Rao and Scott (1981): from the two or three cells of a rare
class no design effect of its own can be found, and cells of the common classes that lie together say that the field of
view matters.

From few images the design effect is itself uncertain. As Korn and Graubard (1998) do it, the effective cells are
multiplied by (z / t)^2: the quantiles, at the level of the simultaneous intervals, of the normal distribution and of
Student's with (K' - 1) (I' - 1) degrees of freedom (Thomas and Rao 1987), where K' is the number of classes found and
I' = N^2 / sum_i m_i^2 the number of equally filled images that would be as good as these. There are never more
effective cells than cells.

benchmarks/interval_coverage.py measures what this gives; docs/COUNTING.md has its table. Division by the plain design
effect alone, without 1 - m_i / N and without the quantiles, covered as little as 0.83 with 5 to 15 images of unequal
size; I - 1 degrees of freedom in place of (K' - 1) (I' - 1) made intervals up to a third wider than they have to be.
"""

import dataclasses

import numpy as np
from scipy import special

# With fewer images that hold white cells the design effect is not computed.
MIN_IMAGES = 5
_ALPHA, _CLASSES = 0.05, 3


@dataclasses.dataclass(frozen=True)
class Clustering:
    """What a patient's images say about how cells lie together.

    Attributes:
      white_cells: N.
      images: images with white cells.
      classes: K', classes of which there are cells.
      equal_images: I'; 0 without cells.
      design_effect: None where it is not known: fewer than `MIN_IMAGES` images or one class.
    """

    white_cells: float = 0.0
    images: int = 0
    classes: int = 0
    equal_images: float = 0.0
    design_effect: float | None = None

    def effective_cells(self, white_cells: float, alpha: float = _ALPHA) -> float:
        """Independently drawn cells that so many white cells of this patient are worth.

        Args:
          white_cells: the patient's, or another number on more or fewer images like these.
          alpha: of the simultaneous intervals the number is for.

        Returns:
          At most `white_cells`, and just that where the design effect is not known.
        """
        if self.design_effect is None:
            return white_cells
        equal_images = self.equal_images * white_cells / self.white_cells
        freedom = max((self.classes - 1) * (equal_images - 1), 1.0)
        level = 1 - alpha / (2 * _CLASSES)
        widening = (special.stdtrit(freedom, level) / special.ndtri(level)) ** 2
        return white_cells / max(1.0, self.design_effect * widening)

    @property
    def least_effective_cells(self) -> float:
        """Effective cells if all cells of an image were as one: no clustering leaves fewer."""
        return self.equal_images


def measure_clustering(image_counts: np.ndarray) -> Clustering:
    """The design effect of one patient.

    Args:
      image_counts: [I, K] white cells per image and class; need not be whole (means over models).

    >>> measure_clustering(np.array([[40, 0, 0], [0, 40, 0]] * 5)).design_effect  # each image of one class
    44.44444444444445
    """
    counts = np.asarray(image_counts, dtype=float)
    counts = counts[counts.sum(axis=1) > 0] if counts.size else np.zeros((0, _CLASSES))
    sizes, white = counts.sum(axis=1), float(counts.sum())
    if not white:
        return Clustering()
    shares = counts.sum(axis=0) / white
    classes = int(np.count_nonzero(shares))
    design_effect = None
    if len(counts) >= MIN_IMAGES and classes > 1:
        excess = (counts - sizes[:, None] * shares) ** 2 / (1 - sizes[:, None] / white)
        design_effect = float(excess.sum() / (white * (shares * (1 - shares)).sum()))
    equal_images = white**2 / float((sizes**2).sum())
    return Clustering(white, len(counts), classes, equal_images, design_effect)
