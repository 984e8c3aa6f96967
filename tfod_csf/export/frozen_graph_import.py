"""From a TensorFlow 1 frozen graph to a model folder.

The graph is not rebuilt: the SavedModel holds its operations, with the weights as constants, behind TFOD's TensorFlow 2
signature. It holds them twice: in a function, for `tf.saved_model.load`, and directly in the graph, because OpenVINO
does not read TensorFlow 1's loops (Enter, Switch, Exit) inside functions. The folder appears only when the SavedModel,
in a fresh process, gives what a TensorFlow 1 session gives.
"""

import hashlib
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from tfod_csf import model_folder
from tfod_csf.config.pipeline_config import save_pipeline_config
from tfod_csf.config.protos import pipeline_pb2
from tfod_csf.export import export_checks, frozen_graph, model_info, parity, parity_images
from tfod_csf.export.detection_module import INPUT_NAME, input_spec
from tfod_csf.export.frozen_graph import FrozenGraph, FrozenGraphError
from tfod_csf.files import atomic_write, manifest, saved_model_operations
from tfod_csf.inference import self_test
from tfod_csf.inference.self_test import SelfTest
from tfod_csf.label_map import LabelMap, LabelMapError, save_label_map

_CLASS_BIASES = "SecondStageBoxPredictor/ClassPredictor/biases"
_SCOPE = "frozen_graph"
_WITH_BACKGROUND = ("detection_multiclass_scores", "raw_detection_scores")


class FrozenDetector:
    """A frozen graph as TensorFlow 1 runs it, in a session: what the SavedModel is compared with.

    Args:
      frozen: of `frozen_graph.read`.
    """

    def __init__(self, frozen: FrozenGraph):
        self.frozen = frozen
        self.graph_def = _needed_part(frozen)
        self.input_type, self.spec = self._input()
        graph = tf.Graph()
        try:
            with graph.as_default():
                tf.graph_util.import_graph_def(self.graph_def, name="")
        except (ValueError, TypeError, KeyError, tf.errors.OpError) as error:
            raise FrozenGraphError(
                f"{frozen.path}: TensorFlow cannot read the graph ({_first_line(error)})."
            ) from error
        self._session = tf.compat.v1.Session(graph=graph)

    def __call__(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Outputs of a batch, as the graph gives them, in float32.

        Raises:
          FrozenGraphError: the graph cannot be run on it.
        """
        names = {name: f"{name}:0" for name in self.frozen.outputs}
        try:
            outputs = self._session.run(names, {f"{self.frozen.input_name}:0": images.numpy()})
        except (ValueError, tf.errors.OpError) as error:
            raise FrozenGraphError(f"{self.frozen.path}: the graph cannot be run ({_first_line(error)}).") from error
        return {name: tf.constant(np.asarray(value, np.float32)) for name, value in outputs.items()}

    def batch_function(self) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
        """The same: a frozen graph takes any number of images."""
        return self.__call__

    def _input(self) -> tuple[str, tf.TensorSpec]:
        """(input type of the export, input_tensor of the signature)."""
        (node,) = (node for node in self.graph_def.node if node.name == self.frozen.input_name)
        dtype = tf.dtypes.as_dtype(node.attr["dtype"].type)
        is_float = self.frozen.input_name == "image_tensor" and dtype == tf.float32
        input_type = "float_image_tensor" if is_float else self.frozen.input_name
        wanted, shape = (
            input_spec(input_type),
            tf.TensorShape(node.attr["shape"].shape if "shape" in node.attr else None),
        )
        if dtype != wanted.dtype or not shape.is_compatible_with(wanted.shape):
            raise FrozenGraphError(
                f"{self.frozen.path}: the input {node.name} is {dtype.name} {shape}; expected {wanted.dtype.name} "
                f"{wanted.shape}; export the model again with TFOD's default --input_shape."
            )
        return input_type, tf.TensorSpec(wanted.shape.merge_with(shape), dtype, name=INPUT_NAME)

    @property
    def takes_batches(self) -> bool:
        """Whether it takes several pictures at once, of any size."""
        return self.input_type == "image_tensor" and self.spec.shape.as_list() == [1, None, None, 3]


def import_frozen_graph(
    frozen: FrozenGraph,
    label_map: LabelMap,
    label_map_path: pathlib.Path,
    output_directory: pathlib.Path,
    thresholds: Mapping[str, float],
    pipeline_config: pipeline_pb2.TrainEvalPipelineConfig | None = None,
) -> dict[str, float]:
    """Writes the model folder.

    Args:
      frozen: of `frozen_graph.read`.
      label_map: as many classes as the graph has.
      label_map_path: for messages.
      output_directory: made; an earlier export in it is replaced, anything else in it is an error.
      thresholds: {"min_score", "unknown_below"} for model.json.
      pipeline_config: of its training, where there is one; copied, and the source of the limits in model.json.

    Returns:
      Largest difference of each output between SavedModel and frozen graph.

    Raises:
      FrozenGraphError: the graph cannot be run, or its outputs are not those of a detector of these classes.
      LabelMapError: the label map has other classes.
    """
    export_checks.check_replaceable(output_directory)
    detector = FrozenDetector(frozen)
    height, width = detector.spec.shape[1:3] if detector.spec.shape.rank == 4 else (None, None)
    images = parity_images.synthetic(((height or 240, width or 320), (height or 200, width or 150)))
    example = detector(tf.constant(parity.encode(images[0], detector.input_type)))
    num_classes = _num_classes(detector, example, pipeline_config)
    _check_label_map(label_map, num_classes, label_map_path)
    _check_outputs(example, num_classes, frozen.path)
    with atomic_write.replacing_folder(output_directory) as part:
        saved_model_dir = part / model_folder.SAVED_MODEL_DIR
        _write_saved_model(detector, num_classes, saved_model_dir)
        if pipeline_config is not None:
            save_pipeline_config(pipeline_config, part / model_folder.PIPELINE_CONFIG)
        save_label_map(label_map, part / model_folder.LABEL_MAP)
        compared = parity.compare(
            *(saved_model_dir, lambda: detector, detector.input_type, images),
            has_batch_signature=detector.takes_batches,
            source="the frozen graph",
        )
        differences = compared.differences
        found = [self_test.detections_of(outputs, image) for outputs, image in zip(compared.outputs, images)]
        SelfTest.made_of(images, found, thresholds["min_score"], self_test.FLOAT32).write(part)
        info = _info(detector, label_map, thresholds, pipeline_config, max(differences.values()))
        atomic_write.write_json(part / model_folder.INFO, info)
        manifest.write(part)
    return differences


def _needed_part(frozen: FrozenGraph) -> tf.compat.v1.GraphDef:
    """The graph without nodes that no output needs and without the devices it was made on."""
    try:
        whole = tf.compat.v1.GraphDef.FromString(frozen.data)
    except Exception as error:  # DecodeError of whichever protobuf TensorFlow has
        raise FrozenGraphError(f"{frozen.path}: is damaged ({_first_line(error)}); copy the file again.") from error
    needed = tf.compat.v1.GraphDef(versions=whole.versions, library=whole.library)
    needed.node.extend(node for node in whole.node if node.name in frozen.nodes)
    for node in needed.node:
        node.device = ""
    return needed


def _num_classes(
    detector: FrozenDetector,
    example: Mapping[str, tf.Tensor],
    pipeline_config: pipeline_pb2.TrainEvalPipelineConfig | None,
) -> int:
    """Classes without background, from the graph, or from the config where the graph does not tell."""
    path = detector.frozen.path
    widths = [int(example[name].shape[-1]) for name in _WITH_BACKGROUND if name in example]
    biases = [node for node in detector.graph_def.node if node.name == _CLASS_BIASES and node.op == "Const"]
    widths += [tf.make_ndarray(node.attr["value"].tensor).size for node in biases]
    configured = pipeline_config.model.faster_rcnn.num_classes if pipeline_config is not None else None
    if not widths and configured is None:
        raise FrozenGraphError(
            f"{path}: does not tell how many classes it has; give the pipeline.config of its training with "
            "--pipeline_config_path."
        )
    num_classes = widths[0] - 1 if widths else configured
    if configured is not None and configured != num_classes:
        raise FrozenGraphError(
            f"{path}: has {num_classes} classes, but the pipeline.config says num_classes: {configured}; give the "
            "pipeline.config of its training."
        )
    return num_classes


def _check_label_map(label_map: LabelMap, num_classes: int, path: pathlib.Path) -> None:
    """Raises LabelMapError unless the last id is the graph's last class; ids may have gaps, as COCO's."""
    if label_map.max_id != num_classes:
        raise LabelMapError(
            f"{path}: its last id is {label_map.max_id}, but the frozen graph has {num_classes} classes; give the "
            "label map of its training."
        )


def _check_outputs(example: Mapping[str, tf.Tensor], num_classes: int, path: pathlib.Path) -> None:
    """Raises FrozenGraphError when the outputs for one picture do not have TFOD's shapes, or classes beyond 1..K."""
    rows = example["detection_scores"].shape[-1] if example["detection_scores"].shape.rank == 2 else None
    shapes = {"detection_boxes": [1, rows, 4], "detection_scores": [1, rows], "num_detections": [1]}
    shapes |= {"detection_classes": [1, rows], "detection_multiclass_scores": [1, rows, num_classes + 1]}
    for name, shape in shapes.items():
        if name in example and example[name].shape.as_list() != shape:
            raise FrozenGraphError(
                f"{path}: the output {name} is {example[name].shape.as_list()} for one picture; expected {shape}, as "
                "TFOD exports it."
            )
    classes = example["detection_classes"][0, : int(example["num_detections"][0])].numpy()
    wrong = classes[~np.isin(classes, np.arange(1, num_classes + 1))]
    if wrong.size:
        raise FrozenGraphError(
            f"{path}: gives class {wrong[0]:g}; expected whole numbers from 1 to {num_classes}, as TFOD exports them."
        )


def _write_saved_model(detector: FrozenDetector, num_classes: int, folder: pathlib.Path) -> None:
    """The SavedModel; see the docstring of this module for what it holds twice."""
    spec, frozen, num_scores = detector.spec, detector.frozen, num_classes + 1
    any_batch = tf.TensorSpec([None, *spec.shape[1:]], spec.dtype, name=INPUT_NAME)

    def run(input_tensor: tf.Tensor) -> dict[str, tf.Tensor]:
        names = [f"{name}:0" for name in frozen.outputs]
        feeds = {f"{frozen.input_name}:0": input_tensor}
        imported = tf.graph_util.import_graph_def(detector.graph_def, feeds, names, name=_SCOPE)
        return dict(zip(frozen.outputs, imported))

    # wrap_function, not tf.function: the latter adds control dependencies, which must not lead out of a loop.
    graph_function = tf.compat.v1.wrap_function(run, [any_batch])
    module = tf.Module()
    module.__call__ = tf.function(
        lambda input_tensor: _typed(graph_function(input_tensor), spec.shape[0], num_scores), input_signature=[spec]
    )
    signatures = {"serving_default": module.__call__.get_concrete_function()}
    if detector.takes_batches:
        module.batch = tf.function(
            lambda input_tensor: _typed(graph_function(input_tensor), None, num_scores), input_signature=[any_batch]
        )
        signatures["serving_batch"] = module.batch.get_concrete_function()
    tf.saved_model.save(module, str(folder), signatures=signatures)
    _inline_signature(
        folder / saved_model_operations.SAVED_MODEL,
        lambda input_tensor: _typed(run(input_tensor), spec.shape[0], num_scores),
        spec,
    )


def _typed(outputs: Mapping[str, tf.Tensor], batch_size: int | None, num_scores: int) -> dict[str, tf.Tensor]:
    """All outputs in float32, with as much of their shapes as their names say."""
    typed = {}
    for name, tensor in outputs.items():
        shape = [batch_size, *[None] * (frozen_graph.OUTPUT_RANKS[name] - 1)]
        if name.endswith("_boxes"):
            shape[-1] = 4
        elif name in _WITH_BACKGROUND:
            shape[-1] = num_scores
        typed[name] = tf.ensure_shape(tf.cast(tensor, tf.float32), shape)
    return typed


def _inline_signature(
    path: pathlib.Path, detect: Callable[[tf.Tensor], dict[str, tf.Tensor]], spec: tf.TensorSpec
) -> None:
    """Lets serving_default of a saved_model.pb name operations in the graph itself instead of a call of a function.

    `tf.saved_model.load` goes by the functions, other readers (OpenVINO, TensorFlow Serving) by this signature.
    """
    model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    (meta_graph,) = model.meta_graphs
    # In a scope, because the names must not be those of the SavedModel's own operations.
    with tf.Graph().as_default() as graph, tf.name_scope("inline"):
        placeholder = tf.compat.v1.placeholder(spec.dtype, spec.shape, name=INPUT_NAME)
        outputs = detect(placeholder)
    inline = graph.as_graph_def()
    known = {function.signature.name for function in meta_graph.graph_def.library.function}
    meta_graph.graph_def.node.extend(inline.node)
    meta_graph.graph_def.library.function.extend(
        function for function in inline.library.function if function.signature.name not in known
    )
    signature = meta_graph.signature_def["serving_default"]
    signature.inputs[INPUT_NAME].name = placeholder.name
    for name, tensor in outputs.items():
        signature.outputs[name].name = tensor.name
    atomic_write.write_bytes(path, model.SerializeToString())
    # It holds checksums of the graph as it was.
    path.with_name("fingerprint.pb").unlink(missing_ok=True)


def _info(
    detector: FrozenDetector,
    label_map: LabelMap,
    thresholds: Mapping[str, float],
    pipeline_config: pipeline_pb2.TrainEvalPipelineConfig | None,
    largest_difference: float,
) -> dict[str, Any]:
    """model.json; what only a config tells is missing where there is none."""
    path = detector.frozen.path
    info = {
        "format": 1,
        "manifest": model_folder.MANIFEST,
        "input_type": detector.input_type,
        "signatures": ["serving_default", *(["serving_batch"] if detector.takes_batches else [])],
        "compute_dtype": "float32",
        "classes": label_map.names,
        "thresholds": dict(thresholds),
        "frozen_graph": {"file": path.name, "sha256": hashlib.sha256(detector.frozen.data).hexdigest()},
        "largest_difference_from_frozen_graph": largest_difference,
        "versions": model_info.versions(),
    }
    if pipeline_config is None:
        return info
    config = pipeline_config.model.faster_rcnn
    return info | {
        "feature_extractor": config.feature_extractor.type,
        "input_size": model_info.input_size(config),
        "limits": model_info.limits(config),
    }


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
