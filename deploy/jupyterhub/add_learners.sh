#!/bin/sh
# Makes a user of the system of each name in a file, one a line, and prints the names with fresh
# passwords, once; no copy is kept. Names that exist already are left as they are.
#
#   sudo sh add_learners.sh /etc/jupyterhub/learners.txt
set -eu
[ $# -eq 1 ] || { echo "usage: add_learners.sh FILE" >&2; exit 2; }
while read -r name || [ -n "$name" ]; do
    # no longer than this, or the paths of the kernels' sockets get too long
    if ! printf '%s' "$name" | grep -Eqx '[a-z][a-z0-9-]{0,19}'; then
        echo "$name: want a small letter, then at most 19 of a-z, 0-9 and -" >&2
        exit 1
    fi
    if id "$name" >/dev/null 2>&1; then
        echo "$name exists: left alone" >&2
        continue
    fi
    password=$(head -c 12 /dev/urandom | base64)
    useradd --create-home --key HOME_MODE=0700 --shell /bin/bash "$name"
    printf '%s:%s\n' "$name" "$password" | chpasswd
    printf '%s %s\n' "$name" "$password"
done <"$1"
