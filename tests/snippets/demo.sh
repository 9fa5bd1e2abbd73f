# Sourced by the scripts of this folder: starts `seawall demo` on free ports and sets `facts` to its JSON line.
binary=$(realpath "$1")
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
server=
finish() {
  [ -z "$server" ] || { kill "$server" 2>/dev/null && wait "$server" 2>/dev/null; } || true
  rm -rf "$work"
}
trap finish EXIT
mkfifo "$work/line"
"$binary" demo --json --listen 127.0.0.1:0 --data "$work/data" >"$work/line" 2>"$work/log" &
server=$!
if ! read -r -t 60 facts <"$work/line"; then
  cat "$work/log" >&2
  echo "seawall demo did not start" >&2
  exit 1
fi
fact() { python3 -c 'import json, sys; print(json.loads(sys.argv[1])[sys.argv[2]])' "$facts" "$1"; }
