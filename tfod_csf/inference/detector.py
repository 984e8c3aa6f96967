"""An exported model: pixels in, `Detections` out.

The network is run by `saved_model_network.py` or `openvino_network.py`. What it returns is checked here: boxes are
returned in pixels of the given image, classes as label-map ids, and the padding rows beyond `num_detections` are
removed.
"""

import dataclasses
import os
import pathlib
import time
from collections.abc import Mapping, Sequence

import numpy as np

from tfod_csf.detections import Detections, DetectionsError
from tfod_csf.files import openvino_operations
from tfod_csf.inference.domain_guard import DomainGuard
from tfod_csf.inference.image_detector import DetectionFailedError
from tfod_csf.inference.network import BatchNetwork, DetectorError, Network
from tfod_csf.label_map import LabelMap
from tfod_csf.model_folder import ModelFolder, fingerprint
from tfod_csf.score_temperature import SUM_TOLERANCE, temperature_of, with_temperature

# {output of TFOD's detection signature: its rank, the image's axis included}
_OUTPUTS = {"detection_boxes": 3, "detection_scores": 2, "detection_classes": 2, "num_detections": 1}
_MULTICLASS = "detection_multiclass_scores"
# TFOD clips boxes to the image, 0..1. What lies farther outside than the image is large is in other units.
_FARTHEST = (-1.0, 2.0)
_WHOLE = 1e-3  # how far a class id may be from a whole number


def use_deterministic_ops() -> None:
    """Makes TensorFlow give the same bits on every run on the same machine (for a GPU; a CPU's are equal anyway)."""
    import tensorflow as tf

    tf.config.experimental.enable_op_determinism()


class Detector:
    """One exported model, loaded once.

    Args:
      saved_model_dir: folder with saved_model.pb, or with the model.xml of export_openvino (`ModelFolder.network_dir`).
      label_map: classes of the model.
      input_type: image_tensor, float_image_tensor, encoded_image_string_tensor or tf_example; None looks at the
        signature, which does not distinguish the last two, and assumes encoded_image_string_tensor.
      name: how results name the model; default: the folder that holds saved_model/ or openvino/.
      max_detections_per_class: the model's limit, where known; kept for `cell_selection.select_cells`.
      temperature: of `score_temperature`; 1 leaves the scores as they are.
      max_batch: images at a time, of a network that takes several.
      guards: the model's domain guard, or none.
    """

    def __init__(
        self,
        saved_model_dir: str | os.PathLike,
        label_map: LabelMap,
        input_type: str | None = None,
        name: str | None = None,
        max_detections_per_class: int | None = None,
        temperature: float = 1.0,
        max_batch: int = 1,
        guards: Sequence[DomainGuard] = (),
    ):
        self.saved_model_dir = pathlib.Path(saved_model_dir)
        self.label_map = label_map
        self.name = name or self.saved_model_dir.resolve().parent.name
        self.fingerprint = fingerprint(self.saved_model_dir)
        self.max_detections_per_class = max_detections_per_class
        self.temperature = temperature
        self.guards = tuple(guards)
        started = time.perf_counter()
        self._network = _load(self.saved_model_dir, input_type)
        self.load_seconds = time.perf_counter() - started
        takes_batches = isinstance(self._network, BatchNetwork) and self._network.takes_batches
        self.max_batch = max_batch if takes_batches else 1
        self._check_signature()

    @classmethod
    def open(cls, model_folder: ModelFolder) -> "Detector":
        """The detector of an exported model's folder."""
        limits = model_folder.info.get("limits", {})
        # Class-agnostic suppression has a limit for all classes together only, and the signature tells that one.
        per_class = None if limits.get("use_class_agnostic_nms") else limits.get("max_detections_per_class")
        info_path = str(model_folder.path / "model.json")
        guard = DomainGuard.of(model_folder.info, info_path)
        return cls(
            model_folder.network_dir,
            model_folder.label_map,
            input_type=model_folder.info.get("input_type"),
            name=model_folder.name,
            max_detections_per_class=per_class,
            temperature=temperature_of(model_folder.info, info_path),
            max_batch=int(model_folder.info.get("max_batch", 1)),
            guards=() if guard is None else (guard,),
        )

    def _check_signature(self) -> None:
        """Refuses a network without TFOD's outputs, as far as it says what it gives before it has run."""
        outputs = self._network.outputs
        missing = [name for name in _OUTPUTS if name not in outputs]
        if missing:
            raise DetectorError(
                f"{self.saved_model_dir}: the signature has no output {', '.join(missing)}; expected TFOD's detection "
                "signature, as exporter_main_v2 writes it."
            )
        ranks = {**_OUTPUTS, **({_MULTICLASS: 3} if _MULTICLASS in outputs else {})}
        for name, rank in ranks.items():
            spec = outputs[name]
            if not spec.is_number or (spec.shape is not None and len(spec.shape) != rank):
                raise DetectorError(
                    f"{self.saved_model_dir}: the output {name} is {spec.dtype} {spec.shape}; expected numbers with "
                    f"{rank} dimensions, as in TFOD's detection signature."
                )
        self._check_num_classes()

    def _check_num_classes(self) -> None:
        """Refuses a label map of another model, where the signature says how many classes there are."""
        spec = self._network.outputs.get(_MULTICLASS)
        width = spec.shape[-1] if spec is not None and spec.shape else None
        if width not in (None, self.label_map.max_id + 1):
            raise DetectorError(
                f"{self.saved_model_dir}: the model gives scores of {width - 1} classes, but the label map has the ids "
                f"{', '.join(map(str, self.label_map.ids))}; put the label map of its training into the model folder."
            )

    def decode_jpeg(self, jpeg: bytes) -> np.ndarray | None:
        """A JPEG file's pixels by TensorFlow's decoder, as in training: see `jpeg_decoding.decode`."""
        # Imported here, because it loads TensorFlow.
        from tfod_csf.inference import jpeg_decoding

        return jpeg_decoding.decode(jpeg)

    def detect(self, pixels: np.ndarray, image: str = "", *, jpeg: bytes | None = None) -> Detections:
        """Detects cells in one image.

        Args:
          pixels: uint8 [H, W, 3] RGB; those of a JPEG by `decode_jpeg`, where it can read it.
          image: name that the detections carry.
          jpeg: the JPEG file that `decode_jpeg` made these pixels of, where there is one; a model that takes encoded
            images is given it.

        Returns:
          All detections of the model, in its order (falling score), low scores included.
        """
        _check_pixels(pixels)
        return self._detections(self._network.run(pixels, jpeg), pixels, image)

    def detect_batch(self, pixels: Sequence[np.ndarray], images: Sequence[str]) -> list[Detections]:
        """See `image_detector.BatchDetector`."""
        for one in pixels:
            _check_pixels(one)
        assert isinstance(self._network, BatchNetwork), "max_batch is 1"
        outputs = self._network.run_batch(np.stack(pixels))
        rows = [{name: array[row : row + 1] for name, array in outputs.items()} for row in range(len(pixels))]
        return [self._detections(*one) for one in zip(rows, pixels, images, strict=True)]

    def _detections(self, outputs: Mapping[str, np.ndarray], pixels: np.ndarray, image: str) -> Detections:
        """What the network gave for one image, checked."""
        rows, limit = self._rows(outputs)
        height, width = pixels.shape[:2]
        detections = Detections(
            image=image,
            width=width,
            height=height,
            boxes=np.clip(_checked_boxes(rows["detection_boxes"]), 0, 1) * [height, width, height, width],
            classes=self._checked_classes(rows["detection_classes"]),
            scores=rows["detection_scores"],
            multiclass_scores=rows.get(_MULTICLASS),
            num_at_limit=len(rows["detection_boxes"]) >= limit,
        )
        return detections if self.temperature == 1 else self._calibrated(detections)

    def _rows(self, outputs: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], int]:
        """({output: its detections without padding}, number of rows with padding).

        Raises:
          DetectorError: outputs whose shapes do not fit each other or the label map.
          DetectionFailedError: num_detections is not a number of rows.
        """
        arrays = {name: outputs[name] for name in (*_OUTPUTS, _MULTICLASS) if name in outputs}
        number = arrays.pop("num_detections")
        limit = arrays["detection_boxes"].shape[1] if arrays["detection_boxes"].ndim == 3 else -1
        wanted = {"detection_boxes": (4,), _MULTICLASS: (max(self.label_map.ids) + 1,)}
        for name, array in arrays.items():
            shape = (1, limit, *wanted.get(name, ()))
            if array.shape != shape:
                raise DetectorError(
                    f"{self.saved_model_dir}: the output {name} is {list(array.shape)} for one image; expected "
                    f"{list(shape)} with the {len(self.label_map)} classes of the label map: put the label map of the "
                    "model's training into its folder, or export it again."
                )
        if number.shape != (1,) or not 0 <= number[0] <= limit or number[0] != np.round(number[0]):
            raise DetectionFailedError(f"num_detections is {number.tolist()} of {limit} rows")
        return {name: array[0, : int(number[0])] for name, array in arrays.items()}, limit

    def _calibrated(self, detections: Detections) -> Detections:
        """Scores at the model's temperature, best first; each detection keeps its class."""
        if detections.multiclass_scores is None:
            raise DetectorError(
                f"{self.saved_model_dir}: model.json holds a temperature, which needs the output "
                "detection_multiclass_scores; export the model again, or delete calibration from model.json."
            )
        sums = detections.multiclass_scores.sum(axis=1)
        if (np.abs(sums - 1) > SUM_TOLERANCE).any():
            farthest = sums[np.abs(sums - 1).argmax()]
            raise DetectorError(
                f"{self.saved_model_dir}: model.json holds a temperature, which is for scores that add up to 1, and "
                f"those of a cell add up to {farthest:.2f} (score_converter SIGMOID?); delete calibration from "
                "model.json, and choose the thresholds again."
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

    def _checked_classes(self, classes: np.ndarray) -> np.ndarray:
        """int32 [N] ids of the label map."""
        if not (np.abs(classes - np.round(classes)) <= _WHOLE).all():
            raise DetectionsError("the model gave a class that is not a whole number")
        classes = np.round(classes).astype(np.int32)
        wrong = set(classes.tolist()) - set(self.label_map.ids)
        if wrong:
            raise DetectorError(
                f"{self.saved_model_dir}: the model gives class {min(wrong)}, but the label map has the ids "
                f"{', '.join(map(str, self.label_map.ids))}; put the label map of its training into the model folder."
            )
        return classes


def _load(path: pathlib.Path, input_type: str | None) -> Network:
    # Imported here, because each loads its library.
    if (path / openvino_operations.GRAPH).is_file():
        from tfod_csf.inference.openvino_network import OpenVINONetwork

        return OpenVINONetwork(path)
    from tfod_csf.inference.saved_model_network import SavedModelNetwork

    return SavedModelNetwork(path, input_type)


def _check_pixels(pixels: np.ndarray) -> None:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise DetectionFailedError(f"pixels are {pixels.dtype} {pixels.shape}; expected uint8 [H, W, 3]")


def _checked_boxes(boxes: np.ndarray) -> np.ndarray:
    """float [N, 4] ymin, xmin, ymax, xmax in 0..1 of the image, as the model gave them.

    Raises:
      DetectionsError: not finite, far outside of the image, or with sides the wrong way round.
    """
    low, high = _FARTHEST
    if not ((boxes >= low) & (boxes <= high)).all():
        raise DetectionsError("the model gave a box far outside of the image, or with a side that is not a number")
    if (boxes[:, :2] > boxes[:, 2:]).any():
        raise DetectionsError("the model gave a box whose lower end is above its upper end")
    return boxes
