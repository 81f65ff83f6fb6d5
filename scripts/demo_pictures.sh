#!/usr/bin/env bash
# The diffusion demo, after scripts/quickstart.sh or scripts/build.sh: a style and an object for the embedded base, some
# minutes on two cores. Options go to scripts/demo_pictures.py.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scripts/setup.sh --pictures
[[ -x build/bin/shira ]] || scripts/build.sh shira_cli
exec .venv/bin/python scripts/demo_pictures.py "$@"
