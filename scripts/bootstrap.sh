#!/usr/bin/env bash
# Makes a Debian machine ready to build, run and test Evertill.
#
#   scripts/bootstrap.sh demo     what `make demo` needs
#   scripts/bootstrap.sh test     that, and what `make test` needs
#   scripts/bootstrap.sh check    what `make check` needs
#   scripts/bootstrap.sh window   what `make window` and `make package` need
#
# Rust and Node.js are yours to choose and are only checked. Debian packages are installed when they are missing, as
# root or through sudo; when all is there, nothing runs. No system PostgreSQL cluster is made, started or touched.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

RUST_MIN=1.95.0
NODE_MIN=20.19.0
CARGO_DENY_VERSION=0.20.2

main() {
  local purpose="${1:-test}"
  case "$purpose" in
    demo | test | check | window) ;;
    *) fail "usage: scripts/bootstrap.sh demo|test|check|window" ;;
  esac
  require_rust
  require_node
  # A C compiler, make and perl build SQLCipher and its OpenSSL.
  local packages=(ca-certificates gcc libc6-dev make perl)
  if [[ $purpose != demo ]]; then
    # The window; it brings GTK and D-Bus along.
    packages+=(libwebkit2gtk-4.1-dev fonts-dejavu-core)
  fi
  if [[ $purpose == test ]]; then
    packages+=(chromium webkit2gtk-driver xvfb)
  fi
  install_missing "${packages[@]}"
  if [[ $purpose == demo || $purpose == test ]]; then
    install_postgres_server
  fi
  if [[ $purpose == check ]]; then
    require_component clippy
    require_component rustfmt
    install_cargo_deny
  fi
  install_node_modules
}

require_rust() {
  local found
  found="$(rustc --version 2>/dev/null | cut -d' ' -f2 || true)"
  if [[ -z $found ]] || ! command -v cargo >/dev/null; then
    fail "Rust is missing. Evertill needs Rust $RUST_MIN or newer: follow https://rustup.rs, then open a new shell."
  fi
  at_least "$found" "$RUST_MIN" ||
    fail "Rust $found is too old. Evertill needs $RUST_MIN or newer: run 'rustup update stable', or see https://rustup.rs."
}

require_component() {
  cargo "${1/rustfmt/fmt}" --version >/dev/null 2>&1 || fail "Rust's $1 is missing: run 'rustup component add $1'."
}

require_node() {
  local found
  found="$(node --version 2>/dev/null | tr -d v || true)"
  if [[ -z $found ]] || ! command -v npm >/dev/null; then
    fail "Node.js is missing. Evertill needs Node.js $NODE_MIN or newer with npm: https://nodejs.org/en/download (Debian 12's own is too old)."
  fi
  at_least "$found" "$NODE_MIN" ||
    fail "Node.js $found is too old. Evertill needs $NODE_MIN or newer: https://nodejs.org/en/download."
}

# Whether version $1 is $2 or newer. A pre-release counts as its release.
at_least() {
  [[ "$(printf '%s\n%s\n' "${1%%-*}" "$2" | sort -V | head -n 1)" == "$2" ]]
}

# Installs the Debian packages that are not installed.
install_missing() {
  local package missing=()
  for package in "$@"; do
    installed "$package" || missing+=("$package")
  done
  if ((${#missing[@]})); then
    apt_install "${missing[@]}"
  fi
}

installed() {
  [[ "$(dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null)" == installed ]]
}

apt_install() {
  say "installing $*"
  # The package lists of a fresh machine are empty or old, and a mirror may drop one connection.
  if ! { as_root apt-get update -qq && apt_get_install "$@"; }; then
    say "apt-get failed; trying once more"
    as_root apt-get update -qq || true
    apt_get_install "$@" || fail "apt-get could not install: $*"
  fi
}

apt_get_install() {
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=120 "$@" >&2
}

as_root() {
  if [[ $EUID -eq 0 ]]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    fail "root rights are needed for: $* (run that as root, or install sudo)"
  fi
}

# The server binaries alone. Debian's package would also make a cluster and start it: for the moment of the installation
# that is switched off, and the setting is put back as it was.
install_postgres_server() {
  if compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null; then
    return
  fi
  install_missing postgresql-common
  local settings=/etc/postgresql-common/createcluster.conf
  as_root cp -p "$settings" "$settings.evertill-saved"
  # shellcheck disable=SC2064  # the name is wanted as it is now
  trap "as_root mv '$settings.evertill-saved' '$settings'" EXIT
  as_root sh -c "echo 'create_main_cluster = false' >> '$settings'"
  apt_install postgresql
  as_root mv "$settings.evertill-saved" "$settings"
  trap - EXIT
}

install_cargo_deny() {
  if ! cargo deny --version >/dev/null 2>&1; then
    say "installing cargo-deny $CARGO_DENY_VERSION (once; some minutes)"
    cargo install --locked --quiet cargo-deny --version "$CARGO_DENY_VERSION"
  fi
}

# `npm ci` when package-lock.json is not the one that node_modules was made from.
install_node_modules() {
  local stamp=ui/node_modules/.evertill-lock wanted
  wanted="$(cat ui/package.json ui/package-lock.json | sha256sum)"
  if [[ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]]; then
    say "installing the app's npm packages"
    (cd ui && npm ci --no-audit --no-fund --loglevel=error)
    echo "$wanted" >"$stamp"
  fi
}

say() {
  echo "bootstrap: $*" >&2
}

fail() {
  echo "bootstrap: $*" >&2
  exit 1
}

main "$@"
