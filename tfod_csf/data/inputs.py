"""What training and evaluation read: records to batches of (features, labels).

Shape shorthand in this module: B images of a batch, H x W the network's input, M rows of objects (padding included),
K foreground classes. Boxes are ymin, xmin, ymax, xmax. Names are TFOD's.

features:
  image: float32 [B, H, W, 3], resized, padded, normalized (image_normalizer).
  true_image_shape: int32 [B, 3], the part of the input that is image, not padding.
  original_image_spatial_shape: int32 [B, 2], height and width before resizing.
  original_image: uint8 [B, H, W, 3], resized and padded but not normalized; in evaluation, with retain_original_images.
  source_id: string [B]; hash: int32 [B], of source_id.
labels:
  groundtruth_boxes: float32 [B, M, 4], normalized to the padded input [H, W]; padding rows are 0.
  groundtruth_classes: float32 [B, M, K], one-hot, zero-based, without background; padding rows are 0.
  groundtruth_weights: float32 [B, M]; 0 marks a padding row.
  num_groundtruth_boxes: int32 [B].
  groundtruth_difficult int32, groundtruth_is_crowd bool, groundtruth_group_of bool, groundtruth_area float32
      (px of the original image squared, 0 if not recorded): [B, M].
  groundtruth_confidences: as groundtruth_classes. groundtruth_verified_neg_classes,
      groundtruth_not_exhaustive_classes, groundtruth_image_classes: float32 [B, K], for image-level labels. Faster
      R-CNN does not read these four.

Order of the steps on one image: decode, augment (training), resize and pad, normalize, pad the boxes, batch.
"""

import os
import random
from collections.abc import Callable

import tensorflow as tf

from tfod_csf.config.protos import eval_pb2, input_reader_pb2, model_pb2, train_pb2
from tfod_csf.data.augmentation import preprocessor
from tfod_csf.data.augmentation.crop_augmentation import OBJECT_FIELDS, keep_objects
from tfod_csf.data.left_out_boxes import LeftOutBoxes
from tfod_csf.data.records import record_datasets
from tfod_csf.data.records.tf_example_decoder import TfExampleDecoder
from tfod_csf.errors import UserError
from tfod_csf.label_map import load_label_map
from tfod_csf.network_input import image_normalizer, image_resizer

Example = dict[str, tf.Tensor]
Batch = tuple[Example, Example]

_HASH_BINS = 1 << 31
_FEATURES = ("image", "true_image_shape", "original_image_spatial_shape", "original_image", "source_id", "hash")
_LABELS = (
    *OBJECT_FIELDS,
    "num_groundtruth_boxes",
    "groundtruth_confidences",
    "groundtruth_image_classes",
    "groundtruth_verified_neg_classes",
    "groundtruth_not_exhaustive_classes",
)


class InputsError(UserError):
    """An input reader that contradicts the rest of the config."""


def train_input(
    train_config: train_pb2.TrainConfig,
    train_input_config: input_reader_pb2.InputReader,
    model_config: model_pb2.DetectionModel,
    seed: int | None = None,
    input_context: tf.distribute.InputContext | None = None,
    left_out_boxes: LeftOutBoxes | None = None,
    num_batches_done: int = 0,
) -> tf.data.Dataset:
    """Training batches: shuffled, augmented, padded to `train_config.max_number_of_boxes` rows.

    Args:
      train_config: batch_size (of all replicas together), data_augmentation_options, max_number_of_boxes.
      train_input_config: which records, and how they are read.
      model_config: image_resizer and num_classes.
      seed: same seed, same batches. None chooses one at random.
      input_context: of a distributed run; the dataset then yields one replica's share of each batch.
      left_out_boxes: counts lost boxes.
      num_batches_done: a run that resumes continues after so many batches of all replicas together; their records are
          read, and not decoded.

    Returns:
      Dataset of (features, labels), endless unless `num_epochs` is set; M is max_number_of_boxes.

    Raises:
      UserError: the config cannot be honored, or a path matches no file.
    """
    seed = random.SystemRandom().randrange(1 << 31) if seed is None else seed
    steps = preprocessor.from_config(train_config.data_augmentation_options)
    batch_size = _replica_batch_size(train_config.batch_size, input_context)
    max_number_of_boxes = train_config.max_number_of_boxes
    transform = _Transform(
        train_input_config, model_config, left_out_boxes or LeftOutBoxes(), retain_original_images=False
    )

    def train_example(number: tf.Tensor, serialized: tf.Tensor) -> Batch:
        example_seed = tf.stack([tf.constant(seed, tf.int64), number])
        example = transform(serialized, lambda example: preprocessor.preprocess(example, steps, example_seed))
        num_left_out = tf.shape(example["groundtruth_boxes"])[0] - max_number_of_boxes
        reason = f"train_config.max_number_of_boxes is {max_number_of_boxes}; raise it."
        transform.left_out_boxes.note(num_left_out, example["source_id"], reason)
        return _features_and_labels(_pad_objects(example, max_number_of_boxes))

    records = record_datasets.read_dataset(train_input_config, train_input_config.num_epochs or None, seed)
    records = records.enumerate().skip(num_batches_done * train_config.batch_size)
    if input_context and input_context.num_input_pipelines > 1:
        records = _share_of_batches(records, train_config.batch_size, input_context)
    return _batches(records, train_example, batch_size, train_input_config, train_input_config.drop_remainder)


def eval_input(
    eval_config: eval_pb2.EvalConfig,
    eval_input_config: input_reader_pb2.InputReader,
    model_config: model_pb2.DetectionModel,
    input_context: tf.distribute.InputContext | None = None,
    left_out_boxes: LeftOutBoxes | None = None,
) -> tf.data.Dataset:
    """Evaluation batches: every record once, no augmentation, every box.

    Args:
      eval_config: batch_size and retain_original_images.
      eval_input_config: which records; `max_number_of_boxes` is the least number of rows, not a limit.
      model_config: image_resizer and num_classes.
      input_context: see `train_input`.
      left_out_boxes: counts lost boxes.

    Returns:
      Dataset of (features, labels), one epoch; M is max_number_of_boxes, or more for a batch that needs more. The last
      batch is smaller where the images do not divide evenly, unless the config says `drop_remainder: true`.
    """
    transform = _Transform(
        eval_input_config, model_config, left_out_boxes or LeftOutBoxes(), eval_config.retain_original_images
    )

    def eval_example(serialized: tf.Tensor) -> Batch:
        example = transform(serialized)
        num_rows = tf.maximum(tf.shape(example["groundtruth_boxes"])[0], eval_input_config.max_number_of_boxes)
        return _features_and_labels(_pad_objects(example, num_rows))

    records = record_datasets.read_dataset(eval_input_config, 1, 0, input_context)
    batch_size = _replica_batch_size(max(1, eval_config.batch_size), input_context)
    drops_remainder = eval_input_config.HasField("drop_remainder") and eval_input_config.drop_remainder
    return _batches(records, eval_example, batch_size, eval_input_config, drops_remainder)


def example_reader(
    input_reader_config: input_reader_pb2.InputReader, model_config: model_pb2.DetectionModel
) -> Callable[[tf.Tensor], Example]:
    """A function from a serialized record to its example: resized, with one-hot classes, without augmentation and
    without padding rows of objects."""
    return _Transform(input_reader_config, model_config, LeftOutBoxes(), retain_original_images=False)


class _Transform:
    """Serialized record to one example with resized image and one-hot classes, its objects not yet padded.

    Args:
      input_reader_config: for the label map.
      model_config: for image_resizer, feature_extractor.type and num_classes.
      left_out_boxes: counts lost boxes.
      retain_original_images: whether `original_image` is kept.
    """

    def __init__(
        self,
        input_reader_config: input_reader_pb2.InputReader,
        model_config: model_pb2.DetectionModel,
        left_out_boxes: LeftOutBoxes,
        retain_original_images: bool,
    ):
        path = input_reader_config.label_map_path
        self._decoder = TfExampleDecoder(load_label_map(path) if path else None)
        self._resizer = image_resizer.from_config(model_config.faster_rcnn.image_resizer)
        extractor_type = model_config.faster_rcnn.feature_extractor.type
        self._normalize = image_normalizer.of_extractor(extractor_type).normalize
        self._num_classes = model_config.faster_rcnn.num_classes
        self._unknown_class = f"its class is not in {path}."
        self._retain_original_images = retain_original_images
        self.left_out_boxes = left_out_boxes

    def __call__(
        self, serialized: tf.Tensor, augment: Callable[[Example], Example] = lambda example: example
    ) -> Example:
        example = self._decoder.decode(serialized)
        named = tf.stack([example["source_id"], example["filename"], example["key"]])
        example["source_id"] = tf.concat([tf.boolean_mask(named, named != ""), [""]], axis=0)[0]
        example["hash"] = tf.cast(tf.strings.to_hash_bucket_fast(example["source_id"], _HASH_BINS), tf.int32)
        example = self._with_known_classes(_with_whole_objects(example))
        if self._retain_original_images:
            resized, _ = self._resizer(tf.cast(example["image"], tf.float32))
            example["original_image"] = tf.cast(resized, tf.uint8)
        example = augment(example)
        image, example["true_image_shape"] = self._resizer(tf.cast(example["image"], tf.float32))
        example["image"] = self._normalize(image)
        padded_per_true = tf.cast(tf.shape(image)[:2], tf.float32) / tf.cast(
            example["true_image_shape"][:2], tf.float32
        )
        example["groundtruth_boxes"] /= tf.tile(padded_per_true, [2])
        return self._with_one_hot_classes(example)

    def _with_known_classes(self, example: Example) -> Example:
        """Drops objects whose class text the label map does not have, and counts them; refuses labels outside 1..K."""
        classes = example["groundtruth_classes"]
        is_known = classes != -1
        num_unknown = tf.reduce_sum(tf.cast(~is_known, tf.int32))
        self.left_out_boxes.note(num_unknown, example["source_id"], self._unknown_class)
        in_range = ~is_known | ((classes >= 1) & (classes <= self._num_classes))
        _refuse_unless(
            tf.reduce_all(in_range),
            f"a class id is not in 1..{self._num_classes} (num_classes); the label map or num_classes is wrong",
            example,
        )
        return keep_objects(example, is_known)

    def _with_one_hot_classes(self, example: Example) -> Example:
        example["num_groundtruth_boxes"] = tf.shape(example["groundtruth_boxes"])[0]
        example["groundtruth_classes"] = tf.one_hot(example["groundtruth_classes"] - 1, self._num_classes)
        example["groundtruth_confidences"] = example["groundtruth_classes"]
        example["groundtruth_difficult"] = tf.cast(example["groundtruth_difficult"], tf.int32)
        for field in ("groundtruth_verified_neg_classes", "groundtruth_not_exhaustive_classes"):
            example[field] = _k_hot(example[field], self._num_classes, when_empty=0.0)
        field = "groundtruth_image_classes"
        example[field] = _k_hot(example[field], self._num_classes, when_empty=1.0)
        return example


def _with_whole_objects(example: Example) -> Example:
    """Gives every object every field: 0 or false where the record does not have it; refuses half-filled fields."""
    num_boxes = tf.shape(example["groundtruth_boxes"])[0]
    whole = dict(example)
    for field in OBJECT_FIELDS[1:]:
        values = example[field]
        is_optional = field not in ("groundtruth_classes", "groundtruth_weights")
        is_whole = tf.size(values) == num_boxes
        _refuse_unless(
            is_whole | ((tf.size(values) == 0) & is_optional), f"{field} and the boxes differ in number", example
        )
        whole[field] = tf.cond(is_whole, lambda: values, lambda: tf.zeros([num_boxes], values.dtype))  # noqa: B023
    boxes = example["groundtruth_boxes"]
    is_box = tf.math.is_finite(boxes) & tf.tile(boxes[:, :2] <= boxes[:, 2:], [1, 2])
    _refuse_unless(
        tf.reduce_all(is_box), "a box has a side that is not a number, or a minimum above its maximum", example
    )
    return whole


def _refuse_unless(condition: tf.Tensor, problem: str, example: Example) -> None:
    """Ends the run with the image's name when the condition (bool scalar) is false."""
    tf.debugging.Assert(condition, [f"{problem}; image:", example["source_id"]])


def _k_hot(classes: tf.Tensor, num_classes: int, when_empty: float) -> tf.Tensor:
    """float32 [K] with 1 at each of these class ids (from 1); `when_empty` everywhere if there is none."""
    k_hot = tf.reduce_max(tf.one_hot(classes - 1, num_classes), axis=0)
    return tf.where(tf.size(classes) > 0, k_hot, when_empty)


def _pad_objects(example: Example, num_rows: int | tf.Tensor) -> Example:
    """Brings every tensor of objects to num_rows rows: adds zeros, or drops the last ones."""
    padded = dict(example)
    for field in (*OBJECT_FIELDS, "groundtruth_confidences"):
        values = example[field][:num_rows]
        missing = [[0, num_rows - tf.shape(values)[0]], [0, 0]][: values.shape.rank]
        static_rows = num_rows if isinstance(num_rows, int) else None
        padded[field] = tf.ensure_shape(tf.pad(values, missing), [static_rows, *values.shape[1:]])
    padded["num_groundtruth_boxes"] = tf.minimum(example["num_groundtruth_boxes"], num_rows)
    return padded


def _features_and_labels(example: Example) -> Batch:
    features = {name: example[name] for name in _FEATURES if name in example}
    return features, {name: example[name] for name in _LABELS}


def _share_of_batches(
    records: tf.data.Dataset, batch_size: int, input_context: tf.distribute.InputContext
) -> tf.data.Dataset:
    """Of each batch of all pipelines together, the records of this one, in order; whole batches only.

    Every pipeline reads all records, and decodes only its own. Reading costs little beside that, and so the pipelines
    together make the batches of one.
    """
    share = batch_size // input_context.num_input_pipelines
    begin = input_context.input_pipeline_id * share
    batches = records.batch(batch_size, drop_remainder=True)
    return batches.map(lambda number, record: (number[begin : begin + share], record[begin : begin + share])).unbatch()


def _replica_batch_size(batch_size: int, input_context: tf.distribute.InputContext | None) -> int:
    if input_context is None:
        return batch_size
    if batch_size % input_context.num_replicas_in_sync:
        raise InputsError(
            f"batch_size: {batch_size} does not divide by {input_context.num_replicas_in_sync} replicas; make it a "
            "multiple of that number."
        )
    return input_context.get_per_replica_batch_size(batch_size)


def _batches(
    records: tf.data.Dataset,
    to_features_and_labels: Callable[..., Batch],
    batch_size: int,
    config: input_reader_pb2.InputReader,
    drop_remainder: bool,
) -> tf.data.Dataset:
    """Maps, batches and prefetches; the order of the records is kept, so that a seeded run is repeatable."""
    # Beyond a few per processor more parallel calls only hold more decoded images in memory.
    num_parallel_calls = min(max(1, batch_size * config.num_parallel_batches), 4 * (os.cpu_count() or 1))
    # There is no Python control flow to convert, and looking for it takes longer than tracing itself.
    to_features_and_labels = tf.autograph.experimental.do_not_convert(to_features_and_labels)
    dataset = records.map(to_features_and_labels, num_parallel_calls=num_parallel_calls, deterministic=True)
    has_one_size = dataset.element_spec[0]["image"].shape.is_fully_defined()
    dataset = dataset.padded_batch(batch_size, drop_remainder=drop_remainder)
    if batch_size > 1 and not has_one_size:
        dataset = dataset.map(_refuse_unequal_sizes)
    prefetch = tf.data.AUTOTUNE if config.num_prefetch_batches < 0 else config.num_prefetch_batches
    # TensorFlow's tuner of parallel calls has nothing to choose here, and its thread may miss the signal that the
    # dataset is no longer needed; then the end of a run waits for it, up to a minute.
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.prefetch(prefetch).with_options(options)


def _refuse_unequal_sizes(features: Example, labels: Example) -> Batch:
    shapes = features["true_image_shape"]
    tf.debugging.Assert(
        tf.reduce_all(shapes == shapes[:1]),
        [
            "images of one batch have different sizes after image_resizer; set pad_to_max_dimension: true or "
            "batch_size: 1; sizes and images:",
            shapes,
            features["source_id"],
        ],
        summarize=64,
    )
    return features, labels
