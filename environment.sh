# Sourced by run_demo.sh, run_tests.sh and run_study.sh: a Python environment that holds tfod_csf.
#
# use_environment EXTRAS: keeps an active virtual environment, else makes (or reuses) .venv beside this file; installs
# tfod_csf with the extras when setup.py or requirements.lock changed since the last time.

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

find_python() {
  local candidate
  for candidate in python3.11 python3.12 python3.13 python3.10 python3 python; do
    if "$candidate" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  echo "error: Python 3.10 to 3.13 is needed (TensorFlow 2.20 has no other builds); none was found on PATH." >&2
  return 1
}

make_virtual_environment() {
  local python
  python=$(find_python) || return 1
  echo "Making a virtual environment in $repository/.venv with $("$python" --version)"
  "$python" -m venv "$repository/.venv" && return
  rm -rf "$repository/.venv"
  echo "error: $python cannot make a virtual environment; on Debian or Ubuntu: apt-get install python3-venv" >&2
  return 1
}

use_environment() {
  local extras=$1 stamp
  if [ -z "${VIRTUAL_ENV:-}" ] && [ -z "${CONDA_PREFIX:-}" ]; then
    [ -x "$repository/.venv/bin/python" ] || make_virtual_environment || return 1
    # shellcheck disable=SC1091
    . "$repository/.venv/bin/activate"
  fi
  stamp="${VIRTUAL_ENV:-$CONDA_PREFIX}/.tfod_csf-$extras"
  if ! { cat "$repository/setup.py" "$repository/requirements.lock"; echo "$repository"; } | cmp -s - "$stamp"; then
    echo "Installing tfod_csf[$extras] with the versions of requirements.lock (some minutes the first time)"
    python -m pip install --quiet --upgrade-strategy only-if-needed -c "$repository/requirements.lock" \
      -e "$repository[$extras]" || return 1
    { cat "$repository/setup.py" "$repository/requirements.lock"; echo "$repository"; } > "$stamp"
  fi
}
