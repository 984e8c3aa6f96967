# Sourced by run_demo.sh, run_tests.sh and run_study.sh: a Python environment that holds tfod_csf.
#
# use_environment EXTRAS: keeps an active virtual environment, else makes (or reuses) .venv beside this file; installs
# tfod_csf with the extras (as train,dev) when pyproject.toml or the lock files changed since the last time.
# make_archive_environment: the same for the extra archive in .venv-archive, because it wants other versions.

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
virtual_environment="$repository/.venv"

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
  echo "Making a virtual environment in $virtual_environment with $("$python" --version)"
  "$python" -m venv "$virtual_environment" && return
  rm -rf "$virtual_environment"
  echo "error: $python cannot make a virtual environment; on Debian or Ubuntu: apt-get install python3-venv" >&2
  return 1
}

# What decides whether the environment is up to date: the requirements, and which clone it runs.
stamp_text() { # EXTRAS
  local extra
  cat "$repository/pyproject.toml" "$repository/requirements/build.txt" "$repository/requirements/inference.txt"
  for extra in ${1//,/ }; do cat "$repository/requirements/$extra.txt"; done
  echo "$repository"
}

# Whether pip is set to an index of one's own; uv does not read pip's settings.
has_own_index() {
  python -m pip config list 2>/dev/null | grep -q '[.]index-url='
}

install_with() { # EXTRAS INSTALL_COMMAND...
  local extra files=(-r requirements/inference.txt)
  [ "$1" != archive ] || files=() # its lock file is complete
  for extra in ${1//,/ }; do files+=(-r "requirements/$extra.txt"); done
  shift
  "$@" --no-deps --require-hashes --no-build-isolation "${files[@]}" && "$@" --no-deps --no-build-isolation -e .
}

# Everything that the lock files name, checksums compared, nothing resolved. First the tools that do it: uv, which needs
# a fraction of pip's time, and what builds the packages that have no wheel.
install_locked() { # EXTRAS
  local pip=(python -m pip install --quiet --no-compile) uv=(python -m uv pip install --quiet)
  cd "$repository" || return 1
  "${pip[@]}" --no-deps --require-hashes -r requirements/build.txt || return 1
  if ! has_own_index; then
    install_with "$1" "${uv[@]}" --python "$(command -v python)" && return
    echo "uv failed; installing with pip"
  fi
  install_with "$1" "${pip[@]}"
}

# Byte-compiles what tfod_csf imports by importing it. The installers leave that out: two thirds of the modules that
# they install are never imported, and compiling them all takes longer than everything else.
compile_imported_modules() {
  env -u PYTHONDONTWRITEBYTECODE TF_CPP_MIN_LOG_LEVEL=3 python - >/dev/null 2>&1 <<'PYTHON' || true
import contextlib, importlib, pkgutil
import tfod_csf
for module in pkgutil.walk_packages(tfod_csf.__path__, "tfod_csf."):
    if not module.name.endswith("__main__"):
        with contextlib.suppress(ImportError):  # of another extra
            importlib.import_module(module.name)
PYTHON
}

# Whether the environment holds this clone with EXTRAS, perhaps with more; removes stamps of other clones and versions.
is_up_to_date() { # ENVIRONMENT EXTRAS
  local stamp extra installed up_to_date=1
  for stamp in "$1"/.tfod_csf-*; do
    installed=${stamp##*/.tfod_csf-}
    if ! stamp_text "$installed" 2>/dev/null | cmp -s - "$stamp"; then
      rm -f "$stamp"
      continue
    fi
    for extra in ${2//,/ }; do
      case ",$installed," in *",$extra,"*) ;; *) continue 2 ;; esac
    done
    up_to_date=0
  done
  return "$up_to_date"
}

use_environment() { # EXTRAS
  local environment
  if [ -z "${VIRTUAL_ENV:-}" ] && [ -z "${CONDA_PREFIX:-}" ]; then
    [ -x "$virtual_environment/bin/python" ] || make_virtual_environment || return 1
    # shellcheck disable=SC1091
    . "$virtual_environment/bin/activate"
  fi
  environment=${VIRTUAL_ENV:-$CONDA_PREFIX}
  if ! is_up_to_date "$environment" "$1"; then
    echo "Installing tfod_csf[$1] with the versions of requirements/*.txt (a minute or two the first time)"
    (install_locked "$1") || return 1
    compile_imported_modules
    stamp_text "$1" > "$environment/.tfod_csf-$1"
  fi
}

make_archive_environment() {
  (
    unset VIRTUAL_ENV CONDA_PREFIX
    virtual_environment="$repository/.venv-archive"
    use_environment archive
  )
}
