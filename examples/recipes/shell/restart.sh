#!/bin/sh
# restart.sh PROGRAM [ARGUMENT…]: runs a program that cannot reload, with DB_USER and
# DB_PASSWORD from the files of a Secret, and restarts it when these change: on HUP, or
# with FOLLOW=1 by itself, within a second. It is made to be copied.
dir=${CREDENTIALS:-/secrets/db}

# The files of one generation: ..data is followed once.
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
  [ -z "$again" ] || kill $child # the signal came since the files were read
  while kill -0 $child 2>/dev/null; do # a signal interrupts a wait
    wait $child
    code=$?
  done
  [ "$again" ] || exit $code
done
