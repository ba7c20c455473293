#!/bin/sh
# restart.sh PROGRAM [ARGUMENT…]
#
# Runs a program that cannot reload, with DB_USER and DB_PASSWORD from the files of a
# Secret. Restarts the program on HUP. With FOLLOW=1, it also restarts the program within
# a second of a change of the files. Copy it into your image.
dir=${CREDENTIALS:-/secrets/db}

# Resolves ..data, so that all files come from the same generation.
generation() { cd -P "$dir/..data" && pwd; }

follow() {
  last=$(generation)
  while sleep 1; do
    [ "$(generation)" = "$last" ] || kill -HUP $$
    last=$(generation)
  done
}

trap 'again=yes; kill $child' HUP
trap 'again=; kill $child' TERM INT
[ -z "$FOLLOW" ] || follow &
child=
while :; do
  again=
  files=$(generation) || exit
  DB_USER=$(cat "$files/username") DB_PASSWORD=$(cat "$files/password") "$@" &
  child=$!
  [ -z "$again" ] || kill $child # the signal came after the files were read
  while kill -0 $child 2>/dev/null; do # a signal interrupts wait
    wait $child
    code=$?
  done
  [ "$again" ] || exit $code
done
