#!/usr/bin/env bash
# Removes what `make demo` keeps, after asking.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

folder="${EVERTILL_DEMO_DATA:-data/demo}"
if [[ ! -e $folder/evertill-stack ]]; then
  echo "There is no demo data in $folder."
  exit 0
fi
if ! flock --nonblock "$folder/lock" true; then
  echo "The demo is running from $folder: stop it first, with Ctrl-C where it runs." >&2
  exit 1
fi
read -r -p "Remove $folder and every sale in it? [y/N] " answer
if [[ $answer != [yY]* ]]; then
  echo "Nothing was removed."
  exit 0
fi
if [[ -e $folder/central/database-name ]]; then
  echo "The database $(cat "$folder/central/database-name") stays on your PostgreSQL server; drop it there when you no longer want it."
fi
# Where PostgreSQL's data is when its user may not enter the folder.
elsewhere="$(cat "$folder/central/elsewhere" 2>/dev/null || true)"
if [[ $elsewhere == /var/lib/evertill/central-* ]]; then
  rm -rf -- "$elsewhere"
fi
rm -rf -- "$folder"
echo "Removed."
