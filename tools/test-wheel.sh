#!/bin/sh
# Installs the wheel of .wheel/ into a fresh virtual environment and uses it far from the checkout, with a PATH on which there is no compiler: a
# tiny world is built and run, names and faces are found, and all of it comes from the environment.
#   tools/test-wheel.sh
set -eu
cd "$(dirname "$0")/.."
wheel=$(ls "$PWD"/.wheel/laioncele-*.whl)
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
python3 -m venv "$room/venv"
"$room/venv/bin/pip" --disable-pip-version-check --quiet install "$wheel"

mkdir "$room/path" "$room/work"
for tool in env sh cat grep; do
    ln -s "$(command -v "$tool")" "$room/path/$tool"
done
cd "$room/work"
laioncele() {
    env -i PATH="$room/path" HOME="$room/work" "$room/venv/bin/laioncele" "$@"
}
in_venv() {
    grep -q "$room/venv/$1" "$2" || { echo "$2 does not name $room/venv/$1:" >&2; cat "$2" >&2; exit 1; }
}

laioncele --version
laioncele doctor >doctor.txt
in_venv lib doctor.txt
laioncele mini build --size tiny world
in_venv share/laioncele/manifests/mini world/mini.toml
laioncele run --manifest world/mini.toml --output output
for made in report.html laioncele encoder/encoder.safetensors evaluation; do
    [ -e "output/$made" ] || { echo "the run made no $made" >&2; exit 1; }
done
echo 'Mira Castellan in Paris' | laioncele ner >ner.txt
grep -q '"PERSON"' ner.txt
set -- "$room"/venv/share/laioncele/manifests/mini/references/*.jpg
laioncele faces "$1" >faces.txt
grep -q '"landmarks"' faces.txt
laioncele init begin >/dev/null
laioncele plan --manifest begin/laioncele.toml --output begin/output >/dev/null
echo "$(basename "$wheel"): installed and used"
