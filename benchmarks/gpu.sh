#!/bin/sh
# Runs gpu.py where nothing can be downloaded: ./benchmarks/gpu.sh WHEELS [options of gpu.py]
set -e
wheels=$1
shift
here=$(cd "$(dirname "$0")" && pwd)
site=$(mktemp -d)
trap 'rm -rf "$site"' EXIT
python3 -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --target "$site" "$wheels"/*.whl
# The package is taken from its sources, and still found by its name.
mkdir "$site/napari_nh2st-0.dist-info"
printf 'Metadata-Version: 2.1\nName: napari-nh2st\nVersion: 0\n' >"$site/napari_nh2st-0.dist-info/METADATA"
PYTHONPATH="$here/../src:$site" python3 "$here/gpu.py" "$@"
