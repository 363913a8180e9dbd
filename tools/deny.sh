#!/bin/sh
# `cargo deny` over the workspace: the installed one, else the one that tools/fetch-cargo-deny.sh brings.
#   tools/deny.sh check licenses bans sources
set -eu
cd "$(dirname "$0")/.."
if command -v cargo-deny >/dev/null 2>&1; then
    exec cargo-deny --locked "$@"
fi
tools/fetch-cargo-deny.sh
exec .cargo-deny/cargo-deny --locked "$@"
