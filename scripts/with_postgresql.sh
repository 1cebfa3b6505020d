#!/usr/bin/env bash
# Run a command beside a PostgreSQL of its own: scripts/with_postgresql.sh pytest. The command finds its URL in TONGGAN_POSTGRESQL; the server keeps its
# data in a temporary folder, listens on a socket there alone, and ends with the command. Where no PostgreSQL is to be had the command runs without.
set -euo pipefail
[ -n "${TONGGAN_POSTGRESQL:-}" ] && exec "$@"
"$(dirname "$0")/debian_packages.sh" || echo "with_postgresql: Debian's packages cannot be installed; their tests are skipped." >&2
programs=$(compgen -G '/usr/lib/postgresql/*/bin' | sort --version-sort | tail --lines=1 || true)
[ -n "$programs" ] || exec "$@"

folder=$(mktemp --directory)
as_owner=()
if [ "$(id -u)" -eq 0 ]; then  # the server refuses to run as root
    chown postgres "$folder"
    as_owner=(runuser --user postgres --)
fi
stop() {
    "${as_owner[@]}" "$programs/pg_ctl" stop --silent --mode=immediate --pgdata="$folder/data" || true
    rm -rf "$folder"
}
trap stop EXIT
cd "$folder"  # one that the server's user may enter
"${as_owner[@]}" "$programs/initdb" --auth=trust --username=tonggan --encoding=UTF8 --pgdata="$folder/data" > "$folder/initdb.log"
"${as_owner[@]}" "$programs/pg_ctl" start --silent --wait --pgdata="$folder/data" --log="$folder/data/server.log" \
    --options="-c listen_addresses='' -c unix_socket_directories='$folder'"
cd "$OLDPWD"
TONGGAN_POSTGRESQL="postgresql://tonggan@/postgres?host=$folder" "$@"
