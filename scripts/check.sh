#!/usr/bin/env bash
# `make check`: what can be said about the code without running the product.
#
#   scripts/check.sh [--locked]
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

failed=()

main() {
  step "Rust formatting" cargo fmt --all --check
  step "lints" cargo clippy --workspace --all-targets "$@" -- -D warnings
  step "documentation without dead links" env RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps "$@"
  step "who may know whom" cargo test --workspace --test layering "$@"
  step "the app's formatting" npm --prefix ui run --silent format:check
  step "the app's types" npm --prefix ui run --silent check
  step "licences, bans, sources" cargo deny --log-level error check licenses bans sources
  advisories
  if ((${#failed[@]})); then
    printf '\ncheck: failed: %s\n' "$(IFS=';' && echo "${failed[*]}")" >&2
    exit 1
  fi
  echo
  echo "check: all is well${unchecked:+, but $unchecked}"
}

step() {
  local what="$1"
  shift
  printf '\n== %s\n' "$what"
  "$@" || failed+=("$what")
}

# The database of advisories lives elsewhere. Without a way to it nothing is known to be wrong, and nothing to be right.
advisories() {
  printf '\n== advisories\n'
  if cargo deny --log-level error fetch db >/dev/null 2>&1; then
    cargo deny --log-level error check --disable-fetch advisories || failed+=("advisories")
  else
    unchecked="ADVISORIES WERE NOT CHECKED: their database could not be reached"
    echo "$unchecked" >&2
  fi
}

unchecked=""
main "$@"
