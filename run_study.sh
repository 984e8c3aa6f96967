#!/usr/bin/env bash
# The whole study on your slides: seven commands, from labeled images to one differential per patient.
#
#   ./run_study.sh IMAGES_DIR OUT_DIR
#
# IMAGES_DIR  one folder per patient with images and their LabelImg XML, for training
# OUT_DIR     everything that is made; run the same line again to resume where it stopped
#
# Copy this file and edit it for your slides; or set the variables below in front of the line, for example
#   PATIENTS_DIR=new_patients ./run_study.sh slides study
#
# Training starts from csf_small, a small network of blood cells that ships with this package and that two CPU cores can
# train; classes of yours that it knows by name are copied, the others are learned from nothing. Other starts:
#   FINE_TUNE_FROM=FOLDER            a model of your own, a folder of exporter_main_v2
#   FEATURE_EXTRACTOR=resnet50       a COCO checkpoint, as the paper; docs/CHECKPOINTS.md: what to download. Wants a GPU
#   FEATURE_EXTRACTOR=resnet18       nothing: a small network from scratch
set -euo pipefail

if [ $# -ne 2 ] || [ ! -d "$1" ]; then
  echo "usage: ./run_study.sh IMAGES_DIR OUT_DIR   (IMAGES_DIR: folders of images with LabelImg XML; found: ${1:-nothing})" >&2
  exit 1
fi
mkdir -p "$2"
images_dir=$(cd "$1" && pwd)
out_dir=$(cd "$2" && pwd)

# Patients to diagnose: folders of images; XML is not needed. By default those that were labeled, as a rehearsal.
patients_dir=$(cd "${PATIENTS_DIR:-$images_dir}" && pwd)
# Classes to rename or drop, OLD=NEW or OLD= (for example platelet=).
class_map=${CLASS_MAP:-}
# image: the paper's split; patient: a person is never on both sides, which is what we recommend.
split_by=${SPLIT_BY:-patient}
test_fraction=${TEST_FRACTION:-0.1}
# What training starts from (see above), and with how many steps: the paper's 32,000, or 5,000 from a trained model.
# Training ends earlier when the loss has saturated.
if [ -n "${FEATURE_EXTRACTOR:-}" ]; then
  if [ -n "${FINE_TUNE_FROM:-}" ]; then
    echo "error: set FINE_TUNE_FROM (here $FINE_TUNE_FROM), whose network is the model's, or FEATURE_EXTRACTOR (here $FEATURE_EXTRACTOR), not both." >&2
    exit 1
  fi
  start="--feature_extractor=$FEATURE_EXTRACTOR"
  num_steps=${NUM_STEPS:-32000}
else
  model=${FINE_TUNE_FROM:-csf_small}
  if [ -d "$model" ]; then model=$(cd "$model" && pwd); fi
  start="--fine_tune_from=$model"
  num_steps=${NUM_STEPS:-5000}
fi
checkpoint_every_n=${CHECKPOINT_EVERY_N:-1000}
eval_every_n=${EVAL_EVERY_N:-1000}
# Further flags for single commands, for example GENERATE_FLAGS="--batch_size=8".
read -r -a generate_flags <<< "${GENERATE_FLAGS:-}"
read -r -a train_flags <<< "${TRAIN_FLAGS:---stop_when_saturated}"
read -r -a evaluate_flags <<< "${EVALUATE_FLAGS:-}"
read -r -a infer_flags <<< "${INFER_FLAGS:-}"

cd "$(dirname "${BASH_SOURCE[0]}")"
if ! command -v tfod_csf >/dev/null || ! tfod_csf --version >/dev/null 2>&1; then
  . ./environment.sh
  use_environment train
fi
step() { printf '\n== %s\n' "$1"; }

step "1. LabelImg XML to TFRecords"
tfod_csf create_csf_tf_record --images_dir="$images_dir" --output_dir="$out_dir/tfrecords" \
  --split_by="$split_by" --test_fraction="$test_fraction" --class_map="$class_map"

step "2. pipeline.config with the paper's settings, ${start#--}"
tfod_csf generate_pipeline_config --records_dir="$out_dir/tfrecords" --output_path="$out_dir/pipeline.config" \
  "$start" --num_steps="$num_steps" ${generate_flags[@]+"${generate_flags[@]}"}

step "3. Training; watch it with: tensorboard --logdir=$out_dir/model"
tfod_csf model_main_tf2 --pipeline_config_path="$out_dir/pipeline.config" --model_dir="$out_dir/model" \
  --checkpoint_every_n="$checkpoint_every_n" --eval_every_n="$eval_every_n" ${train_flags[@]+"${train_flags[@]}"}

step "4. The best checkpoint by PASCAL VOC mAP becomes a SavedModel"
tfod_csf exporter_main_v2 --pipeline_config_path="$out_dir/pipeline.config" \
  --trained_checkpoint_dir="$out_dir/model/best" --output_directory="$out_dir/exported_model"

step "5. The exported model on the images it was not trained on"
tfod_csf evaluate --model="$out_dir/exported_model" --input_path="$out_dir/tfrecords/test.record-?????-of-?????" \
  --output_dir="$out_dir/evaluation" ${evaluate_flags[@]+"${evaluate_flags[@]}"}

step "6. Every patient: cells, labeled pictures, differentials"
tfod_csf batch_infer --model="$out_dir/exported_model" --images_dir="$patients_dir" \
  --output_dir="$out_dir/patients" ${infer_flags[@]+"${infer_flags[@]}"}

step "7. A page per patient: differential, were enough cells counted, pictures of all cells, unknown ones first"
tfod_csf report --inference_dir="$out_dir/patients" --images_dir="$patients_dir"

cat <<END

Done. In $out_dir:
  patients/report.html               all patients; each has a page of its own
  patients/differentials.csv         one line per patient
  patients/patients/<id>/pictures/   every cell boxed and named; orange: a person has to look
  evaluation/                        metrics, curves, confusion matrix on held-out images
  model/                             checkpoints and logs: tensorboard --logdir=$out_dir/model
  exported_model/                    the model: give this folder to batch_infer anywhere
END
