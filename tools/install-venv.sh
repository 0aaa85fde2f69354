#!/bin/sh
# Make the virtual environment where Debian has split `venv` from Python.
set -eu
python=$1
venv=$2
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-venv
    exec "$python" -m venv "$venv"
fi
echo "Python's venv module is missing: install it with 'apt-get install python3-venv' and run make again." >&2
exit 1
