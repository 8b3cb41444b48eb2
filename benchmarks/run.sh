#!/usr/bin/env bash
# A benchmark beside its peers, which live in an environment of their own: run.sh core|bayes|grid.
# PYTHON is the Python of the project's environment; --small makes it a matter of minutes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PYTHON=${PYTHON:-.venv/bin/python}
peers=.venv-peers
# As on any machine: what was compiled once is not compiled again at every import.
unset PYTHONDONTWRITEBYTECODE

if ! cmp -s benchmarks/peers.txt "$peers/.installed"; then
    echo "Making the peers' environment in $peers (a few minutes) ..."
    "$PYTHON" -m venv --clear "$peers"
    "$peers/bin/python" -m pip install --quiet --disable-pip-version-check -r benchmarks/peers.txt
    cp benchmarks/peers.txt "$peers/.installed"
fi
bench=$1
shift
exec "$PYTHON" -m "benchmarks.$bench" "$peers/bin/python" "$@"
