#!/usr/bin/env bash
# Everything that wants a GPU, in one command: tests/bench/gpu.sh [folder of clips] [folder for results]
#
# Published shapes with random weights (no hub is needed), bfloat16, 448 px. Writes one JSON object a suite, as
# `vigild bench --json` prints it, and what the tests said; goes on when one of them fails and says so at the end.
set -uo pipefail
cd "$(dirname "$0")/../.."

clips="${1:-../shared/data}"
results="${2:-tests/bench/results}"
device="${VIGILD_DEVICE:-cuda:0}"
python="${PYTHON:-.venv/bin/python}"
with_clips=()
[ -f "$clips/events.json" ] && with_clips=(--clips "$clips")
mkdir -p "$results"
failed=()

"$python" -m daemon doctor || true
"$python" -m pytest tests/gpu tests/memory tests/streaming/models -m gpu -q 2>&1 | tee "$results/gpu-tests.txt" || failed+=(tests)

measure() { # name of the result, suite, model
  echo "== $1"
  if "$python" -m daemon bench "$2" --device "$device" --model "$3" --json "${with_clips[@]}" | tee "$results/$1.txt"; then
    tail -n 1 "$results/$1.txt" >"$results/$1.json"
  else
    failed+=("$1")
  fi
}

for model in qwen3-vl-8b qwen2.5-vl-7b; do
  measure "device-$model" device "preset:$model"
  measure "ttft-$model" ttft "preset:$model"
  measure "streams-$model" streams "preset:$model"
done

[ ${#failed[@]} -eq 0 ] || { echo "failed: ${failed[*]}" >&2; exit 1; }
