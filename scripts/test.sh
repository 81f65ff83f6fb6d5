#!/usr/bin/env bash
# Set-up, build, all tests. usage: scripts/test.sh [ctest option...], for example -R sparse
#
# environment: as scripts/setup.sh and scripts/build.sh have it
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scripts/setup.sh --tests
SHIRA_BUILD_BENCHMARKS=${SHIRA_BUILD_BENCHMARKS:-ON} scripts/build.sh
ctest --preset "${SHIRA_PRESET:-default}" --no-tests=error -j 2 "$@"
