#!/usr/bin/env bash
# Bootstrap action of Amazon EMR: bootstrap.sh URI
# Installs verger and its dependencies into /opt/verger, from the package at s3://... (or in a folder). The script
# needs no network except S3. EMR 7.1 and later, and emr-spark-8.0.0, have Python 3.11. If the package's Python is
# missing, it is installed from Amazon Linux's repository, which is in the region's S3 and needs no other network.
set -euo pipefail
umask 022

uri=${1:?usage: bootstrap.sh URI (of the folder that verger cloud package made)}
venv=${VERGER_VENV:-/opt/verger}

log() { echo "verger: $*"; }
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

package=$(mktemp -d)
trap 'rm -rf "$package"' EXIT

log "fetching $uri"
case $uri in
  s3://*) aws s3 cp --only-show-errors --recursive "${uri%/}/" "$package/" ;;
  *) cp -R "${uri%/}/." "$package/" ;;
esac

python=python$(sed -n 's/^ *"python": "\(.*\)",*$/\1/p' "$package/package.json")
if ! command -v "$python" >/dev/null; then
  log "installing $python"
  as_root dnf install -y -q "$python"
fi

as_root bash "$package/install.sh" "$(command -v "$python")" "$venv"
