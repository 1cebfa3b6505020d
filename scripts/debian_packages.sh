#!/usr/bin/env bash
# Install what tests need from Debian: PostgreSQL (the server itself), Chromium, and OpenAL, by which a game's sound is recorded. Does nothing where all of them
# are there; fails where they cannot be had.
set -euo pipefail
missing=()
compgen -G '/usr/lib/postgresql/*/bin/initdb' > /dev/null || missing+=(postgresql)
command -v chromium > /dev/null || missing+=(chromium)
compgen -G '/usr/lib/*/libopenal.so.1' > /dev/null || missing+=(libopenal1)
[ ${#missing[@]} -eq 0 ] && exit 0
as_root=()
[ "$(id -u)" -eq 0 ] || as_root=(sudo --non-interactive)
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get update --quiet=2
"${as_root[@]}" apt-get install --yes --quiet=2 --no-install-recommends "${missing[@]}"
