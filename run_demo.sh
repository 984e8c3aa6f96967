#!/usr/bin/env bash
# Sets up the environment and runs the whole study on synthetic slides; 10 to 12 minutes of computing on two cores.
# Writes to demo/ (or the folder given as argument); a second run resumes, or starts over with --fresh.
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

synthesize() { # FOLDER PATIENTS IMAGES SEED
  [ -f "$1/truth.csv" ] || { rm -rf "$1"; tfod_csf synthesize --output_dir="$1" --num_patients="$2" \
    --images_per_patient="$3" --seed="$4" --width=400 --height=300; }
}
printf '\n== 0. Synthetic slides: 24 labeled patients to learn from, 5 new ones to diagnose\n'
synthesize "$demo_dir/slides" 24 8 1
synthesize "$demo_dir/new_patients" 5 14 2

FEATURE_EXTRACTOR=resnet18 NUM_STEPS=${DEMO_STEPS:-2000} CHECKPOINT_EVERY_N=500 EVAL_EVERY_N=500 TEST_FRACTION=0.2 \
  PATIENTS_DIR="$demo_dir/new_patients" GENERATE_FLAGS="${DEMO_GENERATE_FLAGS:-}" TRAIN_FLAGS="--seed=1 --log_every_n=50" \
  ./run_study.sh "$demo_dir/slides" "$demo_dir/study"

printf '\n== The five new patients: what the model found beside the truth\n'
tfod_csf compare_with_truth --inference_dir="$demo_dir/study/patients" --truth="$demo_dir/new_patients/truth.csv"
printf '\nThe demo took %d min %02d s of computing.\n' $((SECONDS / 60)) $((SECONDS % 60))
