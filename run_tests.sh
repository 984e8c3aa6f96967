#!/usr/bin/env bash
# Sets up the environment, then runs the tests: the fast ones, or all with --all, in two processes (each of them needs up
# to 8 GB). Further arguments go to pytest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. ./environment.sh
use_environment train,dev

arguments=()
for argument in "$@"; do
  case "$argument" in
    --all)
      # Apache Beam wants other versions of some packages; tests/inference/archive run it with this Python.
      make_archive_environment
      export TFOD_CSF_ARCHIVE_PYTHON="$PWD/.venv-archive/bin/python"
      # All tests of a file in one process, so that what they share is made once.
      arguments+=(--runslow --runnetwork --numprocesses=2 --dist=loadfile --no-loadscope-reorder)
      ;;
    *) arguments+=("$argument") ;;
  esac
done
exec python -m pytest ${arguments[@]+"${arguments[@]}"}
