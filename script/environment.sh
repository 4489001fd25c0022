# shellcheck shell=bash
# Shared by script/run and script/test: finds Python, installs what is missing, makes virtual environments.
# Sourced, not run. Debian, Ubuntu and JetPack; elsewhere it says what to install by hand.

say() { printf '==> %s\n' "$*" >&2; }
fail() { printf 'edge-aac: %s\n' "$*" >&2; exit 69; }

# Prints the path of an interpreter of version $1 ("3.10"), or nothing.
python_of_version() {
  local wanted=$1 candidate
  local candidates=("python$wanted" python3)
  if command -v pyenv >/dev/null 2>&1; then
    candidates+=("$(pyenv root)"/versions/"$wanted".*/bin/python)
  fi
  for candidate in "${candidates[@]}"; do
    # A pyenv shim exists for versions that are not selected, and fails when called: so each one is tried.
    if "$candidate" -c "import sys; sys.exit('%d.%d' % sys.version_info[:2] != '$wanted')" >/dev/null 2>&1; then
      "$candidate" -c 'import sys; print(sys.executable)'
      return
    fi
  done
}

# Prints the interpreter to use: $EDGE_AAC_PYTHON, else python3 where it fits, else the newest that fits.
find_python() {
  local supported='import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))'
  local first=${EDGE_AAC_PYTHON:-python3} version found
  if "$first" -c "$supported" >/dev/null 2>&1; then
    "$first" -c 'import sys; print(sys.executable)'
    return
  fi
  for version in 3.12 3.11 3.10; do
    found=$(python_of_version "$version")
    if [ -n "$found" ]; then printf '%s\n' "$found"; return; fi
  done
}

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# Installs the Debian packages among "$@" that are not there yet. Fails where that is not possible.
apt_install() {
  local missing=() package
  for package in "$@"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  command -v apt-get >/dev/null 2>&1 || return 1
  [ "$(id -u)" = 0 ] || command -v sudo >/dev/null 2>&1 || return 1
  say "installing system packages: ${missing[*]}"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get update -q >/dev/null || return 1
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "${missing[@]}" >/dev/null
}

# Debian packages that give interpreter $1 its headers and venv, where it lacks them.
python_packages() {
  local python=$1 version
  version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  "$python" -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' ||
    echo "python$version-dev"
  "$python" -c 'import ensurepip, venv' 2>/dev/null || echo "python$version-venv"
}

# Makes virtual environment $2 with interpreter $1 unless it is there and works.
make_environment() {
  local python=$1 folder=$2
  "$folder/bin/python" -c 'import pip' >/dev/null 2>&1 && return 0
  rm -rf "$folder"
  "$python" -m venv "$folder" || fail "cannot make a virtual environment with $python: install python3-venv"
}

# pip with its noise kept for failures. $1 is the environment.
quiet_pip() {
  local folder=$1 log
  shift
  log=$(mktemp)
  if ! PIP_DISABLE_PIP_VERSION_CHECK=1 "$folder/bin/python" -m pip install -q "$@" >"$log" 2>&1; then
    cat "$log" >&2
    rm -f "$log"
    fail "pip install $* failed: see the lines above"
  fi
  rm -f "$log"
}
