#!/bin/sh
# Opens the page of a run in a headless browser, wide and as narrow as a phone, light and dark: nothing may be written to the console, no
# request may leave the file, and the sections must be there. Needs Debian's chromium.
# usage: tools/test-report.sh PAGE.html [FOLDER for screenshots]
set -eu
page=$(realpath "$1")
shots=${2:-$(mktemp -d)}
mkdir -p "$shots"
browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome) || {
    echo "no chromium: apt-get install chromium" >&2
    exit 3
}
size=$(stat -c %s "$page")
[ "$size" -lt 20000000 ] || { echo "$page: $size bytes, more than 20 MB" >&2; exit 1; }
profile=$(mktemp -d)
trap 'rm -rf "$profile"' EXIT
# Every name leads nowhere, so that a request shows up as an error.
look() {
    "$browser" --headless=new --no-sandbox --disable-gpu --hide-scrollbars --user-data-dir="$profile" \
        --host-resolver-rules='MAP * ~NOTFOUND' --enable-logging=stderr --virtual-time-budget=4000 "$@" "file://$page"
}
bad=0
for window in 1280,1600 390,1600; do
    for scheme in 0 1; do
        log="$shots/$window-$scheme.log"
        look --window-size="$window" --blink-settings="preferredColorScheme=$scheme" \
            --screenshot="$shots/$window-$scheme.png" 2>"$log" >/dev/null
        if grep -E 'CONSOLE|ERR_' "$log"; then
            bad=1
        fi
    done
done
look --dump-dom 2>/dev/null >"$shots/dom.html"
for section in funnel similarity identities spellings rot training samples evaluation cost models settings; do
    grep -q "<section id=\"$section\">" "$shots/dom.html" || { echo "no section $section" >&2; bad=1; }
done
images=$(grep -o '<img ' "$shots/dom.html" | wc -l)
texts=$(grep -o '<img [^>]*alt="[^"]' "$shots/dom.html" | wc -l)
[ "$images" -eq "$texts" ] || { echo "$images images, $texts with a text" >&2; bad=1; }
echo "$page: $size bytes, $images images; screenshots in $shots"
exit $bad
