#!/usr/bin/env bash
# Configures and builds. usage: scripts/build.sh [TARGET...]
#
# environment: SHIRA_PRESET (default | release | asan), SHIRA_WERROR (ON: warnings are errors),
#              SHIRA_TORCH_DIR (an existing LibTorch), SHIRA_JOBS (parallel compilations),
#              SHIRA_BUILD_BENCHMARKS (ON: build/bin/benchmark_* too)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# A file that includes LibTorch takes up to 2 GB to compile.
jobs_that_fit() {
  local cores gigabytes
  cores=$(nproc)
  gigabytes=$(awk '/^MemAvailable/ {print int($2 / 1048576 / 2)}' /proc/meminfo)
  echo $((gigabytes < 1 ? 1 : gigabytes < cores ? gigabytes : cores))
}

preset=${SHIRA_PRESET:-default}
options=()
[[ -z "${SHIRA_WERROR:-}" ]] || options+=("-DSHIRA_WERROR=$SHIRA_WERROR")
[[ -z "${SHIRA_BUILD_BENCHMARKS:-}" ]] ||
  options+=("-DSHIRA_BUILD_BENCHMARKS=$SHIRA_BUILD_BENCHMARKS")
[[ -z "${SHIRA_TORCH_DIR:-}" ]] || options+=("-DTorch_DIR=$SHIRA_TORCH_DIR")
cmake --preset "$preset" --log-level=NOTICE "${options[@]}"
cmake --build --preset "$preset" -j "${SHIRA_JOBS:-$(jobs_that_fit)}" ${1:+--target "$@"}
