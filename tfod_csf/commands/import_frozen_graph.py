"""Make a model folder from a TensorFlow 1 frozen_inference_graph.pb.

The folder is used like one of exporter_main_v2: batch_infer, evaluate and OpenVINO take it. Nothing is trained and no
checkpoint is needed. The SavedModel is run by TensorFlow alone and compared with the frozen graph; a difference is an
error. With the pipeline.config of the training, which is copied, its limits tell when a picture had more cells than the
model can return.

Example: tfod_csf import_frozen_graph --frozen_graph=frozen_inference_graph.pb --label_map_path=label_map.pbtxt
--output_directory=exported_models/paper
"""

import pathlib
import sys

from absl import flags

from tfod_csf.commands import command_line, config_flags
from tfod_csf.errors import UserError

FLAGS = flags.FlagValues()
flags.DEFINE_string(
    "frozen_graph",
    None,
    "The frozen_inference_graph.pb that TFOD's export_inference_graph.py wrote, or the folder that holds it.",
    required=True,
    flag_values=FLAGS,
)
flags.DEFINE_string("label_map_path", None, "Label map (.pbtxt) of the training.", required=True, flag_values=FLAGS)
flags.DEFINE_string("output_directory", None, "Model folder to write.", required=True, flag_values=FLAGS)
config_flags.define_pipeline_config_path(FLAGS, required=False)
config_flags.define_thresholds(FLAGS)


def main() -> None:
    """Checks graph, label map and config, writes the model folder, and says how far it differs from the graph."""
    from tfod_csf import label_map
    from tfod_csf.config import pipeline_config
    from tfod_csf.export import export_checks, frozen_graph
    from tfod_csf.files import folder_lock

    output_directory = pathlib.Path(FLAGS.output_directory)
    export_checks.check_replaceable(output_directory)
    inputs = ("frozen_graph", "label_map_path", "pipeline_config_path")
    export_checks.check_inputs_are_elsewhere(output_directory, {name: FLAGS[name].value for name in inputs})
    classes = label_map.load_label_map(FLAGS.label_map_path)
    config = pipeline_config.load_pipeline_config(FLAGS.pipeline_config_path) if FLAGS.pipeline_config_path else None
    if config is not None and not config.model.HasField("faster_rcnn"):
        raise UserError(f"{FLAGS.pipeline_config_path}: is not the config of a Faster R-CNN; leave the flag out.")
    frozen = frozen_graph.read(pathlib.Path(FLAGS.frozen_graph))
    if frozen.unused:
        print(f"{frozen.path}: its outputs {', '.join(frozen.unused)} are not used; nothing here reads them.")

    from tfod_csf.export import exporter, frozen_graph_import

    exporter.use_only_the_cpu()
    thresholds = {"min_score": FLAGS.min_score, "unknown_below": FLAGS.unknown_below}
    with folder_lock.only_writer(output_directory, swapped=True):
        differences = frozen_graph_import.import_frozen_graph(
            frozen, classes, pathlib.Path(FLAGS.label_map_path), output_directory, thresholds, config
        )
    print(f"Wrote {output_directory}; SavedModel and frozen graph differ by at most {max(differences.values()):.2g}.")


if __name__ == "__main__":
    sys.exit(command_line.run(main, FLAGS, __doc__, "import_frozen_graph"))
