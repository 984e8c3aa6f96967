"""The confusion matrix of a model from labeled images, kept in its folder (`evaluate --store`)."""

import pathlib
from collections.abc import Sequence

import numpy as np

from tfod_csf import model_folder, provenance
from tfod_csf.cell_classes import UNKNOWN
from tfod_csf.classification import Classification
from tfod_csf.errors import UserError
from tfod_csf.evaluation.classification_counts import ClassificationCounter, ValidationImage
from tfod_csf.files import checksums
from tfod_csf.inference.cell_selection import Cells, ScoreThresholds
from tfod_csf.inference.image_detector import ImageDetector
from tfod_csf.inference.labeled.ground_truth import LabeledImage
from tfod_csf.label_map import LabelMap
from tfod_csf.model_folder import ModelFolder


class ValidationError(UserError):
    """Labeled images that cannot make a confusion matrix."""


def training_records(folder: ModelFolder, shards: Sequence[str]) -> list[str]:
    """The shards that the model was trained on, by their checksums in model.json.

    On them a model makes fewer mistakes than on anybody else's cells.
    """
    trained_on = set((folder.info.get("training_data") or {}).get("files", {}).values())
    return [shard for shard in shards if trained_on and checksums.file_sha256(shard) in trained_on]


def refuse_training_records(folder: ModelFolder, shards: Sequence[str]) -> None:
    """Refuses records that the model was trained on: its percentages would be corrected too little.

    Raises:
      ValidationError: a shard is one of the training data.
    """
    for shard in training_records(folder, shards):
        raise ValidationError(
            f"{shard}: the model was trained on this record; what is stored needs patients it never saw: give the "
            "test record."
        )


class ValidationMatrix:
    """Collects images and writes classification.json.

    Args:
      thresholds: of the cells.
      matching_iou_threshold: IoU from which a cell is a labeled one.
    """

    def __init__(self, thresholds: ScoreThresholds, matching_iou_threshold: float):
        self._thresholds = thresholds
        self._iou_threshold = matching_iou_threshold
        self._counter = ClassificationCounter(thresholds.unknown_below, matching_iou_threshold)

    def add(self, label_map: LabelMap, image: LabeledImage, cells: Cells) -> None:
        """Adds one image and the cells found on it.

        Raises:
          ValidationError: the image names no patient.
        """
        if not image.patient_id:
            raise ValidationError(
                f"{image.image_id}: names no patient, and a confusion matrix is counted by patients; use images in "
                "folders of patients, or records of create_csf_tf_record made from such folders."
            )
        # Ignored boxes are there once per class; people saw a cell and gave it no name of the label map.
        unnamed = np.unique(image.boxes[image.is_ignored], axis=0)
        named = ~image.is_ignored
        self._counter.add_image(
            ValidationImage(
                patient_id=image.patient_id,
                width=cells.detections.width,
                height=cells.detections.height,
                names=[*(label_map.name_of(int(i)) for i in image.classes[named]), *[UNKNOWN] * len(unnamed)],
                boxes=np.concatenate([image.boxes[named], unnamed.reshape(-1, 4)]),
                predicted=cells.predicted_class,
                scores=cells.detections.scores,
                found_boxes=cells.detections.boxes,
            )
        )

    def store(self, folder: ModelFolder, model: ImageDetector, source: str) -> str:
        """Writes classification.json into the model's folder and says so in a sentence.

        Args:
          source: where the labeled images are from; only its last part is kept.

        Raises:
          ClassificationError: too few cells of a white-cell class.
        """
        found = Classification(
            model=model.name,
            fingerprint=model.fingerprint,
            temperature=model.temperature,
            classes=tuple(model.label_map.names),
            thresholds={
                "min_score": self._thresholds.min_score,
                "unknown_below": self._thresholds.unknown_below,
                "duplicate_iou": self._thresholds.duplicate_iou,
            },
            matching_iou_threshold=self._iou_threshold,
            patients=self._counter.patients(),
            source=pathlib.PurePath(source).name,
            date=provenance.now(),
        )
        return model_folder.store_classification(folder.path, found)
