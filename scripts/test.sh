#!/usr/bin/env bash
# The Rust half of `make test`: the examples in the documentation, then every test of the workspace. The programs are
# built already; the journeys start them.
#
#   scripts/test.sh [--locked]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

cargo test --workspace --doc "$@"
if cargo nextest --version >/dev/null 2>&1; then
  cargo nextest run --workspace --no-fail-fast "$@"
else
  echo "cargo-nextest is not installed; cargo test does the same, one crate after the other" >&2
  cargo test --workspace --lib --bins --tests --no-fail-fast "$@"
fi
