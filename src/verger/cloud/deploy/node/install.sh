#!/usr/bin/env bash
# install.sh PYTHON [VENV]: install the package that contains this script, without a network.
# With VENV, install into a new virtual environment at this path; if VENV already has this package, do nothing.
# Without VENV, install into PYTHON itself, but do not change the packages that the platform's Spark needs.
set -euo pipefail

python=$1 venv=${2:-}
folder=$(cd "$(dirname "$0")" && pwd)

log() { echo "verger: $*"; }

"$python" - "$folder/package.json" <<'CHECK'
import json
import platform
import sys

package = json.load(open(sys.argv[1]))
node = {"python": "%d.%d" % sys.version_info[:2], "arch": platform.machine()}
for key, value in node.items():
    if package[key] != value:
        sys.exit("verger: the package is for %s %s, and this node has %s" % (key, package[key], value))
CHECK

kept='numpy|pandas|pyarrow|matplotlib|pip'
if [ -n "$venv" ]; then
  kept=none
  if cmp -s "$folder/package.json" "$venv/package.json"; then
    log "$venv has this package already"
    exit 0
  fi
  rm -rf "$venv"
  "$python" -m venv --without-pip "$venv"
  python=$venv/bin/python
fi

requirements=$(mktemp)
trap 'rm -f "$requirements"' EXIT
awk -v kept="^($kept)==" '/^[^ #]/ { is_new = $0 !~ kept } is_new' "$folder/requirements.txt" >"$requirements"

log "installing $(grep -c '==' "$requirements") packages into $python"
pips=("$folder"/wheels/pip-*.whl) # pip runs from its wheel: the node may have no pip
"$python" "${pips[0]}/pip" install --quiet --isolated --no-index --no-deps --no-cache-dir --require-hashes \
  --disable-pip-version-check --root-user-action ignore --find-links "$folder/wheels" -r "$requirements"

if [ -n "$venv" ]; then
  cp "$folder/package.json" "$venv/package.json" # written last: it marks a complete installation
fi
log "$("$python" -c 'from importlib.metadata import version; print("verger", version("verger"))') in $python"
