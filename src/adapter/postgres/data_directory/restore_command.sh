# Hands staged WAL to a PostgreSQL server that recovers; its working directory is its data directory.
# usage: restore_command NAME PATH
# exit status: 0 the file is at PATH; 1 there is none, which for a segment is the end of the log;
# 255 recovery must stop: above 125 PostgreSQL does not take it for the end of the log (xlogarchive.c).

name=$1
path=$2
staging=pitr_wal

fail() {
    echo "pitr: $1" >&2
    exit 255
}

# One command, as each costs recovery a millisecond of every segment. Whoever staged it kept a link to it: PostgreSQL removes what it had
# not yet renamed to its own name when it was interrupted, and asks again.
hand_over_if_staged() {
    [ -f "$staging/ready/$name" ] || return 0
    # Noted before it is moved: should both happen to be torn apart, the segment is still staged.
    echo "$name" >>"$staging/taken" || fail "cannot write $staging/taken"
    mv "$staging/ready/$name" "$path" || fail "cannot move $name to $path"
    exit 0
}

hand_over_again_if_kept() {
    [ -f "$staging/kept/$name" ] || return 0
    # A link, not a copy, unless pg_wal is on another file system.
    ln "$staging/kept/$name" "$path" 2>/dev/null || cp "$staging/kept/$name" "$path" || fail "cannot copy $name to $path"
    exit 0
}

# The one who stages segments holds a lock on this file for as long as it lives, and removes the file when it gives up.
feeder_lives() {
    [ -f "$staging/feeder" ] || return 1
    if command -v flock >/dev/null 2>&1; then
        flock --nonblock --shared "$staging/feeder" true
        [ $? -eq 1 ]
    else
        feeder=$(cat "$staging/feeder") || return 1
        kill -0 "$feeder" 2>/dev/null || ps -p "$feeder" >/dev/null 2>&1
    fi
}

# A server that was killed leaves this script behind, which must then not take what its successor needs.
server_lives() {
    kill -0 "$PPID" 2>/dev/null || return 1
    read -r postmaster <postmaster.pid && kill -0 "${postmaster#-}"
} 2>/dev/null

case $name in
*.history)
    # PostgreSQL asks for these several times, so they are copied.
    [ -f "$staging/history/$name" ] || exit 1
    cp "$staging/history/$name" "$path" || fail "cannot copy $name to $path"
    exit 0
    ;;
esac

hand_over_if_staged

# PostgreSQL asks again when it starts over, and for the last record when all is replayed. What it took lies in pg_wal
# under its own name, where it looks next.
if [ -f "$staging/taken" ] && grep -qxF "$name" "$staging/taken"; then
    [ -f "pg_wal/$name" ] && exit 1
    hand_over_again_if_kept
    fail "$name was handed to a recovery that was interrupted and is gone: restore again into an empty directory"
fi

grep -qxF "$name" "$staging/segments"
case $? in
0) ;;
1) exit 1 ;;
*) fail "cannot read $staging/segments" ;;
esac

while :; do
    # Asked before looking: whoever ends or dies after this has staged before the look, or is noticed in the next round.
    if [ -f "$staging/end" ]; then
        feeder=ended
    elif feeder_lives; then
        feeder=alive
    else
        feeder=dead
    fi
    hand_over_if_staged
    case $feeder in
    ended) exit 1 ;;
    dead) fail "$name was not staged, and whoever stages the log is gone: restore again into an empty directory" ;;
    esac
    server_lives || fail "the server that asked for $name is gone"
    sleep 0.05 2>/dev/null || sleep 1
done
