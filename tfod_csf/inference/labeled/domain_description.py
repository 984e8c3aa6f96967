"""What a model's training images look like, from its training records, for the domain guard of inference."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tfod_csf.domain import training_domain
from tfod_csf.domain.input_scale import input_scale
from tfod_csf.domain.picture_statistics import CellBoxes, measure
from tfod_csf.domain.training_domain import TrainingDomain, TrainingDomainError
from tfod_csf.errors import UserError
from tfod_csf.files import record_set
from tfod_csf.inference.labeled import record_reader
from tfod_csf.inference.labeled.ground_truth import LabeledImage
from tfod_csf.label_map import LabelMap
from tfod_csf.problems import ProblemLog

MAX_IMAGES = 1000


def describe_records(
    shards: Sequence[str],
    label_map: LabelMap,
    info: Mapping[str, Any],
    progress: Callable[[Iterable[LabeledImage]], Iterable[LabeledImage]] = iter,
    max_images: int = MAX_IMAGES,
) -> TrainingDomain:
    """The domain of the images of some record files, which are spread evenly over them.

    Args:
      shards: TFRecord files.
      label_map: the model's.
      info: contents of the model's model.json, or of as much as `input_scale` needs.
      progress: wraps the images, for example in a progress bar.
      max_images: how many are measured.

    Raises:
      TrainingDomainError: too few images can be used.
      TFRecordError: a file that is not whole.
    """
    from tfod_csf.inference import jpeg_decoding  # loads TensorFlow

    number = sum(1 for _ in record_set.numbered_records(shards))
    chosen = {index * number // max_images for index in range(max_images)} if number > max_images else None
    problems = ProblemLog(quiet=True)
    images = record_reader.read_records(shards, label_map, problems, jpeg_decoding.decode, chosen=chosen)
    statistics, groups = [], []
    for image in progress(images):
        statistics.append(_statistics(image, label_map, info))
        groups.append(image.patient_id)
    try:
        return training_domain.describe(np.array(statistics), groups)
    except TrainingDomainError as error:
        skipped = f" ({problems.summary()})" if problems.problems else ""
        raise TrainingDomainError(f"{', '.join(shards)}{skipped}: {error}") from error


def describe_config(
    shards: Sequence[str],
    label_map: LabelMap,
    info: Mapping[str, Any],
    progress: Callable[[Iterable[LabeledImage]], Iterable[LabeledImage]] = iter,
) -> tuple[TrainingDomain | None, str]:
    """(the domain of a model's training records, or None; a sentence about it for the console).

    Args:
      shards: TFRecord files that are still there.
      label_map: the model's.
      info, progress: as in `describe_records`.
    """
    if not shards:
        reason = "the training records that the config names are not there."
    else:
        try:
            domain = describe_records(shards, label_map, info, progress)
            return domain, described_words(domain)
        except UserError as error:  # the model is as good without
            reason = str(error)
    return None, f"No domain guard: {reason} describe_domain adds one later, from records of images as in training."


def described_words(domain: TrainingDomain) -> str:
    """What a domain was made of."""
    of = (
        f"of {domain.groups} patients"
        if domain.grouped
        else "taken one by one, because patients are not known or nearly all are of one"
    )
    return f"Domain guard: from {domain.images} training images {of}, in {len(domain.centers)} kinds."


def _statistics(image: LabeledImage, label_map: LabelMap, info: Mapping[str, Any]) -> np.ndarray:
    height, width = image.pixels.shape[:2]
    is_named = ~(image.is_ignored | image.is_crowd)
    names = [label_map.name_of(int(class_id)) for class_id in image.classes[is_named]]
    return measure(image.pixels, CellBoxes.of(image.boxes[is_named], names), input_scale(info, width, height))
