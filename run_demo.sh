#!/usr/bin/env bash
# Sets up the environment and runs the whole study on synthetic slides, from the model that ships: two minutes on two
# fast cores, less than five on slow ones. Writes to demo/ (or the folder given as argument); a second run resumes, or
# starts over with --fresh.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. ./environment.sh
use_environment train

demo_dir=demo
for argument in "$@"; do
  case "$argument" in
    --fresh) fresh=yes ;;
    -*) echo "usage: ./run_demo.sh [--fresh] [DEMO_DIR]" >&2; exit 1 ;;
    *) demo_dir=$argument ;;
  esac
done
if [ "${fresh:-no}" = yes ] && [ -f "$demo_dir/slides/truth.csv" ]; then rm -rf "$demo_dir"; fi
mkdir -p "$demo_dir"
SECONDS=0

model=csf_small
# Adam needs fewer steps than the paper's RMSprop. The images are of one size, so none has to be padded for a batch, which
# saves a third of the training. 16 proposals an image, half of them cells, teach the second stage as many cells as 32 with
# a quarter, which is what the config has.
network='model{faster_rcnn{image_resizer{keep_aspect_ratio_resizer{pad_to_max_dimension:false}}'
network+='second_stage_batch_size:16,second_stage_balance_fraction:0.5}}'
# The first layers stay as they are: a fifth less time for each step, and mAP is about the same (0.93 and 0.94).
frozen='train_config{freeze_variables:"^conv2d_1/",freeze_variables:"^group_normalization/",'
frozen+='freeze_variables:"residual_block_[89]/"}'
# Cells of rare kinds are no class of the study: they count neither for nor against a model.
evaluate_flags=--unknown_boxes=ignore
test_fraction=0.2

synthesize() { # FOLDER PATIENTS IMAGES SEED [FLAGS]
  [ -f "$1/truth.csv" ] || { rm -rf "$1"; tfod_csf synthesize --output_dir="$1" --num_patients="$2" \
    --images_per_patient="$3" --seed="$4" --width=400 --height=300 "${@:5}"; }
}
map_of() { # FOLDER, which evaluate wrote
  awk -F, '$1 == "PascalBoxes_Precision/mAP@0.5IOU" { printf "%.3f", $2 }' "$1/metrics.csv"
}
printf '\n== 0. Synthetic slides: 40 labeled patients to learn from, 5 new ones to diagnose\n'
synthesize "$demo_dir/slides" 40 4 1
synthesize "$demo_dir/new_patients" 5 8 2 --white_cells_per_patient=120

# The model as it ships, on the same held-out patients. This runs while the network for training is being built, which leaves
# one core idle; its output is shown after the study's.
measure_before() {
  tfod_csf create_csf_tf_record --images_dir="$demo_dir/slides" --output_dir="$demo_dir/before/tfrecords" \
    --split_by=patient --test_fraction=$test_fraction --nodata_page >/dev/null
  tfod_csf evaluate --model="$model" --input_path="$demo_dir/before/tfrecords/test.record-?????-of-?????" \
    --output_dir="$demo_dir/before/evaluation" "$evaluate_flags"
}
mkdir -p "$demo_dir/before"
set -m  # a process group of its own, which ends with this script
measure_before >"$demo_dir/before/log" 2>&1 &
before=$!
set +m
trap 'kill -- "-$before" 2>/dev/null || true' EXIT

FINE_TUNE_FROM=$model NUM_STEPS=${DEMO_STEPS:-300} CHECKPOINT_EVERY_N=150 EVAL_EVERY_N=150 TEST_FRACTION=$test_fraction \
  PATIENTS_DIR="$demo_dir/new_patients" GENERATE_FLAGS="--optimizer=adam --config_override=$network --config_override=$frozen" \
  TRAIN_FLAGS="--seed=1 --log_every_n=50" EVALUATE_FLAGS=$evaluate_flags ./run_study.sh "$demo_dir/slides" "$demo_dir/study"

printf '\n== The five new patients: what the model found beside the truth\n'
tfod_csf compare_with_truth --inference_dir="$demo_dir/study/patients" --truth="$demo_dir/new_patients/truth.csv"

printf '\n== Before the training: %s as it ships on the same held-out images\n' "$model"
wait "$before" || { cat "$demo_dir/before/log" >&2; exit 1; }
trap - EXIT
cat "$demo_dir/before/log"

printf '\nmAP@0.5 on held-out patients: %s before the training, %s after it.\n' \
  "$(map_of "$demo_dir/before/evaluation")" "$(map_of "$demo_dir/study/evaluation")"
printf 'The demo took %d min %02d s of computing.\n' $((SECONDS / 60)) $((SECONDS % 60))
