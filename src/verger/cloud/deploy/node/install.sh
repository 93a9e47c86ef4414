#!/usr/bin/env bash
# install.sh PYTHON [VENV]: install the package that this script lies in, without any network.
# With VENV into a virtual environment of its own; without, into PYTHON itself, where what belongs to the
# platform's Spark stays as it is. A second time it does nothing.
set -euo pipefail

python=$1 venv=${2:-}
here=$(cd "$(dirname "$0")" && pwd)

log() { echo "verger: $*"; }

"$python" - "$here/package.json" <<'CHECK'
import json
import platform
import sys

package = json.load(open(sys.argv[1]))
here = {"python": "%d.%d" % sys.version_info[:2], "arch": platform.machine()}
for key, found in here.items():
    if package[key] != found:
        sys.exit("verger: the package is for %s %s, and this node has %s" % (key, package[key], found))
CHECK

kept='numpy|pandas|pyarrow|matplotlib|pip'
if [ -n "$venv" ]; then
  kept=none
  if cmp -s "$here/package.json" "$venv/package.json"; then
    log "$venv has this package already"
    exit 0
  fi
  rm -rf "$venv"
  "$python" -m venv --without-pip "$venv"
  python=$venv/bin/python
fi

wanted=$(mktemp)
trap 'rm -f "$wanted"' EXIT
awk -v kept="^($kept)==" '/^[^ #]/ { is_wanted = $0 !~ kept } is_wanted' "$here/requirements.txt" >"$wanted"

log "installing $(grep -c '==' "$wanted") packages into $python"
pips=("$here"/wheels/pip-*.whl) # run from its wheel: the node may have none
"$python" "${pips[0]}/pip" install --quiet --isolated --no-index --no-deps --no-cache-dir --require-hashes \
  --disable-pip-version-check --root-user-action ignore --find-links "$here/wheels" -r "$wanted"

if [ -n "$venv" ]; then
  cp "$here/package.json" "$venv/package.json" # last: what says that all is there
fi
log "$("$python" -c 'from importlib.metadata import version; print("verger", version("verger"))') in $python"
