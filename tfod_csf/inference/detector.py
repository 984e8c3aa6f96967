"""An exported model: pixels in, `Detections` out. Of TensorFlow's packages it needs TensorFlow alone.

The SavedModel is called through its `serving_default` signature by TFOD's names, so models exported by TFOD itself
work too. Boxes are returned in pixels of the given image, classes as label-map ids, and the signature's padding rows
beyond `num_detections` are removed.

A JPEG is decoded here by TensorFlow, as in training: its decoder differs from Pillow's by up to about 14 gray levels
(another inverse cosine transform), and a model should see the pixels it was trained on.
"""

import dataclasses
import os
import pathlib
import time
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf

from tfod_csf.detections import Detections
from tfod_csf.errors import UserError
from tfod_csf.inference.image_detector import DetectionFailedError
from tfod_csf.label_map import LabelMap
from tfod_csf.model_folder import ModelFolder, fingerprint
from tfod_csf.score_temperature import temperature_of, with_temperature

_OUTPUTS = ("detection_boxes", "detection_scores", "detection_classes", "num_detections")
_TF_EXAMPLE = "tf_example"


class DetectorError(UserError):
    """A SavedModel that is not TFOD's detection model."""


def use_deterministic_ops() -> None:
    """Makes TensorFlow give the same bits on every run on the same machine (for a GPU; a CPU's are equal anyway)."""
    tf.config.experimental.enable_op_determinism()


class Detector:
    """One exported model, loaded once.

    Args:
      saved_model_dir: folder with saved_model.pb (`ModelFolder.saved_model_dir`).
      label_map: classes of the model.
      input_type: image_tensor, float_image_tensor, encoded_image_string_tensor or tf_example; None looks at the
        signature, which does not distinguish the last two, and assumes encoded_image_string_tensor.
      name: how results name the model; default: the folder that holds saved_model/.
      max_detections_per_class: the model's limit, where known; kept for `cell_selection.select_cells`.
      temperature: of `score_temperature`; 1 leaves the scores as they are.
    """

    def __init__(
        self,
        saved_model_dir: str | os.PathLike,
        label_map: LabelMap,
        input_type: str | None = None,
        name: str | None = None,
        max_detections_per_class: int | None = None,
        temperature: float = 1.0,
    ):
        self.saved_model_dir = pathlib.Path(saved_model_dir)
        self.label_map = label_map
        self.name = name or self.saved_model_dir.resolve().parent.name
        self.fingerprint = fingerprint(self.saved_model_dir)
        started = time.perf_counter()
        try:
            self._loaded = tf.saved_model.load(str(self.saved_model_dir))  # kept: it owns the signature's variables
        except (OSError, ValueError, tf.errors.OpError) as error:
            raise DetectorError(
                f"{self.saved_model_dir}: the SavedModel cannot be loaded ({str(error).splitlines()[0]}); export the "
                "model again with exporter_main_v2."
            ) from error
        self.load_seconds = time.perf_counter() - started
        self._signature = self._checked_signature()
        ((self._input_name, self._input_spec),) = self._signature.structured_input_signature[1].items()
        self._input_type = input_type
        self.max_detections_per_class = max_detections_per_class
        self.temperature = temperature
        self.max_detections = self._signature.structured_outputs["detection_boxes"].shape[1]

    @classmethod
    def open(cls, model_folder: ModelFolder) -> "Detector":
        """The detector of an exported model's folder."""
        limits = model_folder.info.get("limits", {})
        # Class-agnostic suppression has a limit for all classes together only, and the signature tells that one.
        per_class = None if limits.get("use_class_agnostic_nms") else limits.get("max_detections_per_class")
        return cls(
            model_folder.saved_model_dir,
            model_folder.label_map,
            input_type=model_folder.info.get("input_type"),
            name=model_folder.name,
            max_detections_per_class=per_class,
            temperature=temperature_of(model_folder.info, str(model_folder.path / "model.json")),
        )

    def _checked_signature(self) -> Any:
        signature = self._loaded.signatures.get("serving_default")
        if signature is None:
            raise DetectorError(
                f"{self.saved_model_dir}: no signature serving_default (found: "
                f"{', '.join(self._loaded.signatures) or 'none'}); export the model with exporter_main_v2."
            )
        missing = [name for name in _OUTPUTS if name not in signature.structured_outputs]
        if missing or len(signature.structured_input_signature[1]) != 1:
            raise DetectorError(
                f"{self.saved_model_dir}: the signature has no output {', '.join(missing) or 'of one image'}; expected "
                "TFOD's detection signature, as exporter_main_v2 writes it."
            )
        return signature

    def detect(self, pixels: np.ndarray, image: str = "", jpeg: bytes | None = None) -> Detections:
        """Detects cells in one image.

        Args:
          pixels: uint8 [H, W, 3] RGB.
          image: name that the detections carry.
          jpeg: the JPEG file whose unchanged pixels these are, where there is one; it is decoded again as in training.

        Returns:
          All detections of the model, in its order (falling score), low scores included.
        """
        try:
            outputs = self._signature(**{self._input_name: self._input(pixels, jpeg)})
        except tf.errors.OpError as error:
            raise DetectionFailedError(str(error).splitlines()[0]) from error
        num_detections = int(outputs["num_detections"][0])
        height, width = pixels.shape[:2]
        boxes = outputs["detection_boxes"][0, :num_detections].numpy() * np.array([height, width, height, width])
        boxes = np.clip(boxes, 0, [height, width, height, width])
        multiclass_scores = outputs.get("detection_multiclass_scores")
        if multiclass_scores is not None:
            multiclass_scores = multiclass_scores[0, :num_detections].numpy()
        detections = Detections(
            image=image,
            width=width,
            height=height,
            boxes=boxes,
            classes=np.round(outputs["detection_classes"][0, :num_detections].numpy()).astype(np.int32),
            scores=outputs["detection_scores"][0, :num_detections].numpy(),
            multiclass_scores=multiclass_scores,
            num_at_limit=num_detections >= int(outputs["detection_boxes"].shape[1]),
        )
        self._check_classes(detections.classes)
        return detections if self.temperature == 1 else self._calibrated(detections)

    def _calibrated(self, detections: Detections) -> Detections:
        """Scores at the model's temperature, best first; each detection keeps its class."""
        if detections.multiclass_scores is None:
            raise DetectorError(
                f"{self.saved_model_dir}: model.json holds a temperature, which needs the output "
                "detection_multiclass_scores; export the model again, or delete calibration from model.json."
            )
        multiclass_scores = with_temperature(detections.multiclass_scores, self.temperature)
        scores = multiclass_scores[np.arange(len(detections)), detections.classes]
        calibrated = dataclasses.replace(
            detections,
            scores=scores,
            multiclass_scores=multiclass_scores,
            raw_multiclass_scores=detections.multiclass_scores,
        )
        return calibrated.select(np.argsort(-scores, kind="stable"))

    def _check_classes(self, classes: np.ndarray) -> None:
        wrong = set(classes.tolist()) - set(self.label_map.ids)
        if wrong:
            raise DetectorError(
                f"{self.saved_model_dir}: the model gives class {min(wrong)}, but the label map has the ids "
                f"{', '.join(map(str, self.label_map.ids))}; put the label map of its training into the model folder."
            )

    def _input(self, pixels: np.ndarray, jpeg: bytes | None) -> tf.Tensor:
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
            raise ValueError(f"pixels are {pixels.dtype} {pixels.shape}; expected uint8 [H, W, 3]")
        decoded = _decode(jpeg, pixels.shape) if jpeg else None
        if self._input_spec.dtype != tf.string:
            image = tf.constant(pixels) if decoded is None else decoded
            return tf.cast(image[tf.newaxis], self._input_spec.dtype)
        if decoded is None:
            jpeg = None
        encoded = jpeg or tf.io.encode_png(pixels, compression=1).numpy()
        if self._input_type == _TF_EXAMPLE:
            feature = {"image/encoded": tf.train.Feature(bytes_list=tf.train.BytesList(value=[encoded]))}
            feature["image/format"] = tf.train.Feature(
                bytes_list=tf.train.BytesList(value=[b"jpeg" if jpeg else b"png"])
            )
            encoded = tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()
        return tf.constant([encoded])


def _decode(jpeg: bytes, shape: tuple[int, ...]) -> tf.Tensor | None:
    """uint8 [H, W, 3] as in training; None when TensorFlow cannot read what Pillow could, or reads another size."""
    try:
        decoded = tf.io.decode_jpeg(jpeg, channels=3)
    except tf.errors.InvalidArgumentError:
        return None
    return decoded if tuple(decoded.shape) == tuple(shape) else None
