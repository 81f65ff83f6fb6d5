#!/usr/bin/env bash
# Checks the formatting (clang-format 19) and the layer rule of docs and design.
#
# usage: scripts/lint.sh [--fix]      --fix formats in place
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Other major versions format differently.
find_clang_format() {
  local program
  for program in clang-format-19 clang-format .venv/bin/clang-format; do
    if "$program" --version 2>/dev/null | grep -q 'version 19\.'; then
      echo "$program"
      return
    fi
  done
  echo "lint: no clang-format 19 in PATH; scripts/setup.sh --lint installs it" >&2
  return 1
}

mode=(--dry-run -Werror)
case "${1:-}" in
  --find-clang-format) find_clang_format && exit ;;
  --fix) mode=(-i) ;;
esac

clang_format=$(find_clang_format)
status=0
find include src tools tests examples benchmarks \( -name '*.h' -o -name '*.cpp' \) -print0 \
  2>/dev/null | xargs -0 -r -n 32 "$clang_format" "${mode[@]}" || status=1
python3 scripts/check_layers.py || status=1
((status == 0)) && echo "lint: clean"
exit "$status"
