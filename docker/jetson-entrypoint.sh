#!/usr/bin/env bash
# What the Jetson image starts.
#   jetson-entrypoint [OPTIONS of edge-aac stream]   builds the engines where they are missing, then captions
#   jetson-entrypoint VERB …                         another verb of edge-aac, as it is
#   jetson-entrypoint health [PID]                   for Docker: does the stream do its work? (PID: of this script, default 1)
# Engines fit one board with as many of its multiprocessors as the power mode leaves on, one TensorRT, one edge-aac and
# one bundle. What they were built for stands in a file beside them: while that stays the same a start takes seconds.
set -euo pipefail

say() { printf 'edge-aac image: %s\n' "$*" >&2; }

# The stream writes how it does into $EDGE_AAC_STATE_FILE, as under systemd: sources that hang, a model that does not
# answer, and a file that nobody renews any more are faults. While engines are built there is no stream yet, and Docker
# goes on calling the container "starting".
health() {
  local pid=$1
  if [ ! -e "$EDGE_AAC_STATE_FILE" ] && tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -q jetson-entrypoint; then
    say "engines are being built"
    return 1
  fi
  edge-aac service health
}

# The bundle that the stream takes where none is named.
default_bundle() { python3 -c 'from edge_aac.bundle.store import DEFAULT_BUNDLE as name; print(name)'; }

# What engines depend on, in one line, and whether they are there.
identity() {
  local bundle=$1 backend=$2 gpu built=none
  # CUDA is asked: a container does not see the board's name (/proc/device-tree), and a plan is tied to the number of
  # multiprocessors, which a power mode may change.
  gpu=$(python3 -c 'from edge_aac.engines.tensor_rt.engine import this_gpu as gpu
print(f"{gpu().name} with TensorRT {gpu().tensorrt}")' 2>/dev/null || echo "no GPU")
  # Of a bundle that came with the package engines are built into a folder of its name in the volume. A build that found
  # nothing faster makes none: that is no reason to build at every start.
  if [ -f "$XDG_DATA_HOME/edge-aac/bundles/$bundle/manifest.json" ]; then built=stored; fi
  printf '%s, %s, %s, manifest %s, %s, engines %s\n' "$bundle" "$backend" "$(edge-aac --version)" \
    "$(manifest_sha256 "$bundle")" "$gpu" "$built"
}

# Of the bundle that engines are built from: one that came with the package, one in the volume, or a folder.
manifest_sha256() {
  local bundle=$1 package place
  package=$(python3 -c 'from importlib import resources; print(resources.files("edge_aac"))' 2>/dev/null || echo none)
  for place in "$package/bundles/$bundle" "$XDG_DATA_HOME/edge-aac/bundles/$bundle" "$bundle"; do
    if [ -f "$place/manifest.json" ]; then
      sha256sum <"$place/manifest.json" | cut -d ' ' -f 1
      return
    fi
  done
  echo none
}

# Runs "$@" so that a stop of the container ends it at once: a shell would wait for it to end by itself. What it prints
# goes to standard error: standard output is for captions.
stoppable() {
  local child status=0
  "$@" </dev/null >&2 &
  child=$!
  trap 'kill -TERM "$child" 2>/dev/null || true' TERM INT
  wait "$child" || status=$?
  # The signal ends the first wait, not the child.
  while kill -0 "$child" 2>/dev/null; do
    status=0
    wait "$child" || status=$?
  done
  trap - TERM INT
  return "$status"
}

# What the stream will take for option $1: what is given among the words after $2, else $2.
option_of() {
  local name=$1 value=$2
  shift 2
  while [ $# -gt 0 ]; do
    case $1 in
      "$name") value=${2:-$value} ;;
      "$name="*) value=${1#"$name="} ;;
    esac
    shift
  done
  printf '%s\n' "$value"
}

build_where_missing() {
  local bundle=$1 backend=$2 folder built wanted status=0
  folder=$XDG_DATA_HOME/edge-aac
  if ! mkdir -p "$folder" 2>/dev/null || ! [ -w "$folder" ]; then
    say "$folder cannot be written by user $(id -u): mount a volume at $XDG_DATA_HOME that belongs to that user"
    return 78
  fi
  built=$folder/built-for.$(printf '%s' "$bundle" | tr -c 'A-Za-z0-9._-' _)
  wanted=$(identity "$bundle" "$backend")
  if [ "$(cat "$built" 2>/dev/null)" = "$wanted" ]; then return 0; fi
  say "building engines for $wanted: once, some minutes"
  stoppable edge-aac build-engine --bundle "$bundle" --backend "$backend" || status=$?
  if [ "$status" != 0 ]; then
    say "no engines were built (exit code $status): see the lines above; the next start tries again"
    return "$status"
  fi
  # Asked again: of a bundle of the user's own, the build has written the manifest.
  identity "$bundle" "$backend" >"$built.new"
  mv "$built.new" "$built"
}

: "${EDGE_AAC_STATE_FILE:=${TMPDIR:-/tmp}/edge-aac-health.json}"
export EDGE_AAC_STATE_FILE

case ${1:-} in
  health)
    health "${2:-1}"
    exit
    ;;
  stream) shift ;;
  '' | -*) ;;
  *) exec edge-aac "$@" ;;
esac
for word in "$@"; do
  if [ "$word" = --help ]; then exec edge-aac stream --help; fi
done
: "${XDG_DATA_HOME:=$HOME/.local/share}"
export XDG_DATA_HOME
# Of a container that was ended the hard way and starts again.
rm -f "$EDGE_AAC_STATE_FILE"
bundle=$(option_of --bundle "${EDGE_AAC_BUNDLE:-}" "$@")
if [ -z "$bundle" ]; then
  bundle=$(default_bundle) || { say "the package cannot tell its default bundle: build the image again"; exit 70; }
fi
backend=$(option_of --backend "${EDGE_AAC_BACKEND:-tensorrt}" "$@")
build_where_missing "$bundle" "$backend" || exit
exec edge-aac stream "$@"
