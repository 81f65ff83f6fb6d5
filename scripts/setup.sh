#!/usr/bin/env bash
# Installs what the build needs and does not find: Debian/Ubuntu packages, and LibTorch in .venv.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
  cat <<'HELP'
usage: scripts/setup.sh [--tests] [--pictures] [--lint] [--fuzz]

Installs what is missing: compiler, CMake and libraries as Debian/Ubuntu packages (with sudo when
not root), and torch, which brings LibTorch, in the project's own Python environment .venv.
What is already there is left alone.

  --tests     also the Python packages that the tests compare with (transformers, peft, ...)
  --pictures  also the Python packages that scripts/demo_pictures.sh draws with
  --lint      also clang-format 19
  --fuzz      also clang 19 with libFuzzer, for the fuzz preset

environment:
  SHIRA_TORCH_INDEX_URL   another package index for torch. The default one has the CUDA build
                          (several GB); https://download.pytorch.org/whl/cpu has the CPU build
  SHIRA_TORCH_DIR         an existing LibTorch to build with (its directory or its share/cmake/Torch)
                          instead of a download; scripts/build.sh takes it too
HELP
}

with_tests=false
with_pictures=false
with_lint=false
with_fuzz=false
for argument in "$@"; do
  case "$argument" in
    --tests) with_tests=true ;;
    --pictures) with_pictures=true ;;
    --lint) with_lint=true ;;
    --fuzz) with_fuzz=true ;;
    -h | --help) usage && exit 0 ;;
    *) usage >&2 && exit 2 ;;
  esac
done

say() { echo "setup: $*"; }
die() {
  echo "setup: error: $*" >&2
  exit 1
}

has_command() { command -v "$1" >/dev/null; }
has_package() { [[ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" == installed ]]; }
at_least() { [[ "$(printf '%s\n' "$2" "$1" | sort -V | head -n 1)" == "$2" ]]; }

# --- System packages ----------------------------------------------------------------------------

missing_packages() {
  has_command "${CXX:-c++}" || echo g++
  has_command cmake || echo cmake
  has_command ninja || echo ninja-build
  has_command ccache || echo ccache
  has_command pkg-config || echo pkg-config
  has_command python3 || echo python3
  python3 -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv
  if $with_lint && ! scripts/lint.sh --find-clang-format >/dev/null 2>&1; then
    echo clang-format-19
  fi
  local library
  if $with_fuzz; then
    for library in clang-19 libclang-rt-19-dev; do
      has_package "$library" || echo "$library"
    done
  fi
  for library in libcli11-dev libgmock-dev libgoogle-perftools-dev libgtest-dev libhwy-dev libjpeg-dev \
    libpcre2-dev libsentencepiece-dev libspdlog-dev libstb-dev libutf8proc-dev libwebp-dev libxxhash-dev libyaml-cpp-dev nlohmann-json3-dev; do
    has_package "$library" || echo "$library"
  done
}

install_packages() {
  local packages
  if ! has_command apt-get || ! has_command dpkg-query; then
    say "not a Debian or Ubuntu system: system packages are not checked (this script has their list)"
    return
  fi
  mapfile -t packages < <(missing_packages)
  if ((${#packages[@]} == 0)); then
    say "system packages: all there"
    return
  fi
  local as_root=()
  if ((EUID != 0)); then
    has_command sudo || die "no sudo; as root, run: apt-get install ${packages[*]}"
    as_root=(sudo)
  fi
  say "system packages: installing ${packages[*]}"
  "${as_root[@]}" apt-get update -qq
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
}

check_versions() {
  has_command cmake || die "cmake not found (3.24 or newer is needed)"
  local compiler=${CXX:-c++} version
  version=$(cmake --version | sed -n '1s/[^0-9]*\([0-9.]*\).*/\1/p')
  at_least "$version" 3.24 ||
    die "cmake $version is too old, 3.24 or newer is needed (one way: pip install cmake)"
  has_command "$compiler" || die "no C++ compiler $compiler"
  version=$("$compiler" -dumpfullversion -dumpversion)
  if "$compiler" --version | grep -q clang; then
    at_least "$version" 16 || die "clang $version is too old for C++20, 16 or newer is needed"
  else
    at_least "$version" 12 ||
      die "g++ $version is too old for C++20, 12 or newer is needed (CXX names another one)"
  fi
}

# --- Python environment -------------------------------------------------------------------------

# Prints the lines of a requirements file that .venv does not satisfy.
missing_requirements() {
  .venv/bin/python - "$1" <<'PYTHON'
import sys
from importlib.metadata import PackageNotFoundError, version

for line in open(sys.argv[1]):
    requirement = line.split("#")[0].strip()
    if not requirement:
        continue
    name, wanted = requirement.split("==")
    try:
        if version(name).split("+")[0] == wanted:
            continue
    except PackageNotFoundError:
        pass
    print(requirement)
PYTHON
}

make_environment() {
  if .venv/bin/python -c '' 2>/dev/null; then return; fi
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
    die "$(python3 --version) is too old, 3.10 or newer is needed"
  say "making the Python environment .venv"
  python3 -m venv --clear .venv
}

# install_requirements FILE [pip option...]
install_requirements() {
  local file=$1 packages
  shift
  packages=$(missing_requirements "$file")
  if [[ -z "$packages" ]]; then
    say "$file: all there"
    return
  fi
  say "$file: installing" $packages
  .venv/bin/python -m pip install --quiet --disable-pip-version-check "$@" -r "$file"
}

install_packages
check_versions

if [[ -n "${SHIRA_TORCH_DIR:-}" ]]; then
  say "LibTorch: $SHIRA_TORCH_DIR"
fi
if [[ -z "${SHIRA_TORCH_DIR:-}" ]] || $with_tests; then
  make_environment
  install_requirements scripts/requirements.txt \
    ${SHIRA_TORCH_INDEX_URL:+--index-url "$SHIRA_TORCH_INDEX_URL"}
fi
if $with_tests; then
  install_requirements scripts/requirements-test.txt
fi
if $with_pictures; then
  make_environment
  install_requirements scripts/requirements-pictures.txt
fi
say "done"
