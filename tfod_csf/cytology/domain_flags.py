"""Which of a patient's images are unlike those that the models were trained on, by the models' domain guards.

Nothing is counted otherwise because of it. A patient is unlike the training if at least half of the images are.
"""

import collections
import dataclasses
from collections.abc import Iterable, Sequence

from tfod_csf.cytology.run_tables import PatientTables
from tfod_csf.domain.unlike_words import COMPARED, aspects_in, factor_in, same_words
from tfod_csf.wording import plural

_MAX_DIFFERENCES = 4  # in words; each image has all of its own


@dataclasses.dataclass(frozen=True)
class DomainFlags:
    """The images of a patient compared with training images.

    Attributes:
      num_judged: images that a model with a domain guard examined; 0 without such a model.
      unlike: names of those that are unlike the training images of at least one of these models.
      differences: in what, for example "size: white cells 1.8 times as large on 7 images"; what most images have first,
        and how many more there are.
    """

    num_judged: int = 0
    unlike: tuple[str, ...] = ()
    differences: tuple[str, ...] = ()

    @property
    def in_domain(self) -> bool | None:
        """Whether less than half of the images are unlike; None where no guard judged any."""
        return 2 * len(self.unlike) < self.num_judged if self.num_judged else None

    @property
    def note(self) -> str:
        """For tables; "" where no image is unlike."""
        if not self.unlike:
            return ""
        verb = "is" if len(self.unlike) == 1 else "are"
        return (
            f"{len(self.unlike)} of {plural(self.num_judged, 'image')} {verb} unlike the training images "
            f"({', '.join(self.differences)})"
        )


def domain_flags(patient: PatientTables) -> DomainFlags:
    """The flags of a patient, of all models that examined an image."""
    if "in_domain" not in patient.images:
        return DomainFlags()
    judged: set[str] = set()
    words: dict[str, list[str]] = {}
    columns = (patient.images[name].tolist() for name in ("image", "in_domain", "unlike_training"))
    for image, in_domain, unlike in zip(*columns, strict=True):
        if in_domain is None:
            continue
        judged.add(image)
        if not in_domain:
            words.setdefault(image, []).extend(aspects_in(unlike))
    return DomainFlags(len(judged), tuple(sorted(words)), tuple(_differences(words.values())))


def _differences(of_images: Iterable[Sequence[str]]) -> list[str]:
    """What the images differ in, with the middle one of the factors, and on how many it was said so."""
    texts: dict[str, list[str]] = collections.defaultdict(list)
    images: collections.Counter[str] = collections.Counter()
    for words in of_images:
        for text in words:
            texts[same_words(text)].append(text.replace(COMPARED, ""))
        images.update({same_words(text) for text in words})
    order = sorted(texts, key=lambda same: (-images[same], same))
    shown = [
        f"{sorted(texts[same], key=factor_in)[len(texts[same]) // 2]} on {plural(images[same], 'image')}"
        for same in order
    ]
    if len(shown) <= _MAX_DIFFERENCES:
        return shown
    return [*shown[: _MAX_DIFFERENCES - 1], f"and {len(shown) - _MAX_DIFFERENCES + 1} other differences"]
