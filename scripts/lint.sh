#!/usr/bin/env bash
# Checks the formatting (clang-format 19) and the layer rule (check_layers.py).
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
findings=$(mktemp)
trap 'rm -f "$findings"' EXIT
folders=()
for folder in include src tools tests examples benchmarks; do
  if [[ -d $folder ]]; then folders+=("$folder"); fi
done
status=0
find "${folders[@]}" \( -name '*.h' -o -name '*.c' -o -name '*.cpp' \) -print0 |
  xargs -0 -r -n 32 "$clang_format" "${mode[@]}" 2>"$findings" || status=1
grep 'error:' "$findings" || true
python3 scripts/check_layers.py || status=1
((status == 0)) && echo "lint: clean" || echo "lint: FAILED (scripts/lint.sh --fix formats)"
exit "$status"
