#!/usr/bin/env bash
# Fills dist/glue-VERSION with the package's wheel and those of all it needs, as infra/requirements/ locks them.
#
# usage: infra/wheels.sh 4.0|5.1
set -euo pipefail
cd "$(dirname "$0")/.."
version=${1:-}
# Glue 4.0 is Amazon Linux 2 (glibc 2.26), 5.1 Amazon Linux 2023 (2.34); Glue compiles nothing.
case $version in
  4.0) python=3.10 platforms=(manylinux_2_17_x86_64 manylinux2014_x86_64 manylinux_2_12_x86_64 manylinux2010_x86_64 manylinux_2_5_x86_64 manylinux1_x86_64) ;;
  5.1) python=3.11 platforms=(manylinux_2_28_x86_64 manylinux_2_24_x86_64 manylinux_2_17_x86_64 manylinux2014_x86_64 manylinux_2_5_x86_64 manylinux1_x86_64) ;;
  *) echo "usage: infra/wheels.sh 4.0|5.1" >&2; exit 2 ;;
esac
PYTHON=${PYTHON:-$([ -x .venv/bin/python ] && echo .venv/bin/python || echo python3)}
folder=dist/glue-$version
rm -rf "$folder"
"$PYTHON" -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir "$folder" .
"$PYTHON" -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes --only-binary=:all: \
  --implementation cp --python-version "$python" "${platforms[@]/#/--platform=}" \
  --dest "$folder" --requirement "infra/requirements/glue-$version.txt"
echo "$folder: $(find "$folder" -name '*.whl' | wc -l) wheels for Glue $version (Python $python)"
