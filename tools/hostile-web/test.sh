#!/bin/bash
# Both ways of a download against the hostile web: test.sh BIN [options of run.sh]. Fails if either does; passes where it cannot run.
set -u

here=$(cd "$(dirname "$0")" && pwd)
failed=0
for way in download stage; do
    "$here/run.sh" "$1" --way "$way" "${@:2}"
    code=$?
    [ $code = 77 ] && exit 0
    [ $code = 0 ] || failed=1
done
exit $failed
