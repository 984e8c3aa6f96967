#!/usr/bin/env bash
# Sets up the environment, then runs the tests: the fast ones, or all with --all. Further arguments go to pytest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. ./environment.sh
use_environment train,dev

arguments=()
for argument in "$@"; do
  case "$argument" in
    --all) arguments+=(--runslow --runnetwork) ;;
    *) arguments+=("$argument") ;;
  esac
done
exec python -m pytest ${arguments[@]+"${arguments[@]}"}
