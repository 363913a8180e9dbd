#!/bin/sh
# Table 2 of the paper on the embedded world: tools/table2.sh [STEPS [PEOPLE [FOLDER]]]
# Runs the world's manifest in FOLDER if it has not run there, trains LoRA and U-Net on its LaionCele and on a second small
# set, generates the same images with all five U-Nets and scores them. Every part that is there already is not made again.
set -eu

cd "$(dirname "$0")/.."
steps=${1:-300} people=${2:-12} folder=${3:-table2}
laioncele=${LAIONCELE:-${CARGO_TARGET_DIR:-target}/release/laioncele}
manifest=manifests/mini.toml
run=$folder/run
mkdir -p "$folder"
"$laioncele" run --stage all --manifest "$manifest" --output "$run"

# The second set: the references that are not shown in the evaluation, a folder each.
shown=$folder/shown small=$folder/small
mkdir -p "$shown" "$small"
number=0
for photo in manifests/mini/references/*.jpg; do
    name=$(basename "$photo" .jpg)
    if [ "$number" -lt "$people" ]; then
        cp "$photo" "$shown/"
    else
        mkdir -p "$small/$name"
        cp "$photo" "$small/$name/"
    fi
    number=$((number + 1))
done

tune() { # what, data set, name
    "$laioncele" finetune --output "$run" --what "$1" --dataset "$2" --into "$folder/$3" --steps "$steps" \
        --evaluation-people "$shown" --save-as f32 --batch 4 --resolution 128 --learning-rate "$4" >/dev/null
}
tune lora "$run/laioncele" laioncele-lora 1e-3
tune unet "$run/laioncele" laioncele-unet 1e-4
tune lora "$small" small-lora 1e-3
tune unet "$small" small-unet 1e-4
