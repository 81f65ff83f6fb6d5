#!/usr/bin/env bash
# From a clean clone to the embedded demo: set-up, build, demo.
#
# environment: as scripts/setup.sh and scripts/build.sh have it
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scripts/setup.sh
scripts/build.sh shira_cli switch_adapters shira_switch
if [[ -x scripts/demo.sh ]]; then
  exec scripts/demo.sh
fi
echo "The build is done: build/bin/shira --help"
