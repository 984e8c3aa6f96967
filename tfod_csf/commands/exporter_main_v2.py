"""Export a trained checkpoint as a SavedModel with TFOD's signature, and check it.

The folder holds saved_model/, checkpoint/ and pipeline.config as TFOD's does, plus label_map.pbtxt and model.json. The
SavedModel is then run by TensorFlow alone and compared with the checkpoint; a difference is an error.

Example: tfod_csf exporter_main_v2 --pipeline_config_path=pipeline.config --trained_checkpoint_dir=model/best
--output_directory=exported_models/csf
"""

import pathlib
import sys

from absl import flags

from tfod_csf.commands import command_line, config_flags
from tfod_csf.errors import UserError

FLAGS = flags.FlagValues()
config_flags.define_pipeline_config_path(FLAGS)
flags.DEFINE_string(
    "trained_checkpoint_dir",
    None,
    "Folder of the checkpoint: --model_dir of the training, its folder best, or a prefix such as model/ckpt-7.",
    required=True,
    flag_values=FLAGS,
)
flags.DEFINE_string("output_directory", None, "Model folder to write.", required=True, flag_values=FLAGS)
flags.DEFINE_string(
    "input_type",
    "image_tensor",
    "What the exported model takes: image_tensor, float_image_tensor, encoded_image_string_tensor or tf_example.",
    flag_values=FLAGS,
)
flags.DEFINE_string(
    "label_map_path", "", "Label map (.pbtxt) of the classes; default: that of the config.", flag_values=FLAGS
)
config_flags.define_thresholds(FLAGS)
flags.DEFINE_enum(
    "compute_dtype",
    "float32",
    ["float32", "bfloat16"],
    "Number format of the exported model's computations; bfloat16 is faster and less exact.",
    flag_values=FLAGS,
)
flags.DEFINE_bool("batch_signature", False, "Add a signature serving_batch for batches of images.", flag_values=FLAGS)
flags.DEFINE_integer(
    "max_batch",
    1,
    "Images of one size that batch_infer gives to the model at a time, for GPUs; with 2 or more, the signature "
    "serving_batch is added. The network needs this many times the memory.",
    lower_bound=1,
    flag_values=FLAGS,
)
config_flags.define_config_override(FLAGS)
flags.DEFINE_bool(
    "domain_guard",
    True,
    "Describe the training images of the config in model.json, so that later runs say which images are unlike them; "
    "at most 1000 are looked at. Without the records there is no guard; describe_domain adds it later.",
    flag_values=FLAGS,
)
flags.DEFINE_bool(
    "use_side_inputs", False, "Not supported; exists because TFOD has it (Context R-CNN).", flag_values=FLAGS
)
for _name in ("side_input_shapes", "side_input_types", "side_input_names"):
    flags.DEFINE_string(_name, "", "Not supported; exists because TFOD has it (Context R-CNN).", flag_values=FLAGS)


def main() -> None:
    """Checks flags, config and label map, exports, and says how far SavedModel and checkpoint differ."""
    from tfod_csf import label_map
    from tfod_csf.config import supported
    from tfod_csf.export import export_checks
    from tfod_csf.files import folder_lock
    from tfod_csf.training.checkpoints import trained_classes

    side_inputs = [name for name in FLAGS if name.startswith(("use_side", "side_input")) and FLAGS[name].value]
    if side_inputs:
        raise UserError(f"--{side_inputs[0]}: side inputs (Context R-CNN) are not supported; leave the flag out.")
    config = config_flags.load_config(FLAGS)
    label_map_path = FLAGS.label_map_path or config.train_input_reader.label_map_path
    if not pathlib.Path(label_map_path).is_file():
        raise UserError(f"the label map {label_map_path!r} is not there; give it with --label_map_path.")
    classes = label_map.load_label_map(label_map_path)
    paths = pathlib.Path(FLAGS.trained_checkpoint_dir), pathlib.Path(FLAGS.output_directory)
    export_checks.check_export(FLAGS.input_type, config, *paths, classes)
    trained_classes.check_same(paths[0], classes, label_map_path)
    if not trained_classes.stored(paths[0])[1]:
        print(
            f"{paths[0]}: no training.json or best.json says which classes the checkpoint was trained with; those of "
            f"{label_map_path} are taken as they are."
        )
    for notice in supported.notices(config, parts=("model",)):
        print(notice)

    from tfod_csf.export import exporter, model_info, parity_images
    from tfod_csf.inference.labeled import domain_description
    from tfod_csf.progress_bar import bar_over

    exporter.use_only_the_cpu()
    exporter.latest_checkpoint(FLAGS.trained_checkpoint_dir)  # refused here, and not after all images were described
    domain, guard_words = None, "No domain guard (--nodomain_guard)."
    if FLAGS.domain_guard:
        info = {"input_size": model_info.input_size(config.model.faster_rcnn)}
        domain, guard_words = domain_description.describe_config(
            exporter.training_records(config), classes, info, bar_over("image")
        )
    options = exporter.ExportOptions(
        min_score=FLAGS.min_score,
        unknown_below=FLAGS.unknown_below,
        compute_dtype=FLAGS.compute_dtype,
        batch_signature=FLAGS.batch_signature,
        max_batch=FLAGS.max_batch,
        parity_images=parity_images.from_records(config),
        training_domain=domain,
    )
    print("Building the network, writing the SavedModel and comparing it with the checkpoint ...", flush=True)
    with folder_lock.only_writer(FLAGS.output_directory, swapped=True):
        differences = exporter.export(FLAGS.input_type, config, *paths, classes, options)
    print(
        f"Wrote {FLAGS.output_directory}; SavedModel and checkpoint differ by at most {max(differences.values()):.2g}."
    )
    print(guard_words)


if __name__ == "__main__":
    sys.exit(command_line.run(main, FLAGS, __doc__, "exporter_main_v2"))
