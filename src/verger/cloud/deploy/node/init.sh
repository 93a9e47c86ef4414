#!/usr/bin/env bash
# Initialization action of Google Dataproc, and init script of Databricks.
#
# Dataproc: the cluster's metadata attribute verger-package is the package's URI, gs://... The script installs
# verger into /opt/verger, with a Python of the image: conda's or Debian's.
# Databricks: the cluster's environment variable VERGER_PACKAGE is the package's folder, /Volumes/... The script
# installs verger into the cluster's Python, which notebooks and jobs use. It does not change the packages that the
# cluster's Spark needs (numpy, pandas, pyarrow). The package must be for this Python: 3.12 in Runtime 17.3.
set -euo pipefail
umask 022

databricks=/databricks/python/bin/python
conda=/opt/conda/default/bin

log() { echo "verger: $*"; }

uri=${VERGER_PACKAGE:-}
if [ -z "$uri" ] && [ ! -x "$databricks" ]; then
  uri=$(/usr/share/google/get_metadata_value attributes/verger-package)
fi
: "${uri:?VERGER_PACKAGE must name the folder that verger cloud package made}"

package=$(mktemp -d)
trap 'rm -rf "$package"' EXIT

log "fetching $uri"
case $uri in
  gs://*) gcloud storage cp --recursive "${uri%/}/*" "$package/" ;;
  *) cp -R "${uri%/}/." "$package/" ;;
esac

if [ -x "$databricks" ]; then
  bash "$package/install.sh" "$databricks"
else
  python=python$(sed -n 's/^ *"python": "\(.*\)",*$/\1/p' "$package/package.json")
  PATH=$conda:$PATH
  bash "$package/install.sh" "$(command -v "$python")" "${VERGER_VENV:-/opt/verger}"
fi
