#!/usr/bin/env bash
# Builds the Debian package of the till, and prints where it is.
#
#   scripts/package.sh [--locked]
#
# Window and headless till are built by one cargo command, so that what they share is compiled once.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../ui/src-tauri"

target="${CARGO_TARGET_DIR:?is set by make}"
mkdir -p "$target/release"
licenses="$target/release/third-party-licenses.gz"
node ../../scripts/third-party-licenses.mjs "${licenses%.gz}"
gzip --best --no-name --force "${licenses%.gz}"
# What is built, and so lies outside the sources; the rest of the package's contents is in tauri.conf.json.
built="$(printf '{"bundle":{"linux":{"deb":{"files":{"/usr/bin/evertill-node":"%s","/usr/share/doc/evertill/third-party-licenses.gz":"%s"}}}}}' \
  "$target/release/evertill-node" "$licenses")"
rm -rf "$target/release/bundle/deb"
../node_modules/.bin/tauri build --ci --bundles deb --config "$built" -- --package evertill --package node "$@"
echo "package: $(echo "$target"/release/bundle/deb/*.deb)"
