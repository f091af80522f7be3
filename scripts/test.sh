#!/usr/bin/env bash
# The Rust half of `make test`: every test of the workspace, then the examples in the documentation. The programs are
# built already; the journeys start them.
#
#   scripts/test.sh [--locked]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if cargo nextest --version >/dev/null 2>&1; then
  cargo nextest run --workspace --no-fail-fast "$@"
else
  echo "cargo-nextest is not installed; cargo test does the same, one crate after the other" >&2
  cargo test --workspace --lib --bins --tests --no-fail-fast "$@"
fi
cargo test --workspace --doc "$@"
