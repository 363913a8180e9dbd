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

# The same images with all five: who is shown, what, and the noise are equal; only the U-Net differs.
prompts='a portrait of a person|a photo of a person wearing a hat|a photo of a person outdoors'
draw() { # row, options of generate
    row=$1
    shift
    images=$folder/images/$row
    [ -f "$images/done" ] && return
    rm -rf "$images"
    mkdir -p "$images"
    for photo in "$shown"/*.jpg; do
        person=$(basename "$photo" .jpg)
        (
            IFS='|'
            for prompt in $prompts; do set -- "$@" --prompt "$prompt"; done
            "$laioncele" generate "$photo" --output "$run" --into "$images/$person" --images 2 "$@" >/dev/null
        )
    done
    touch "$images/done"
}
draw plain
draw laioncele-lora --lora "$folder/laioncele-lora/pytorch_lora_weights.safetensors"
draw laioncele-unet --unet "$folder/laioncele-unet/unet"
draw small-lora --lora "$folder/small-lora/pytorch_lora_weights.safetensors"
draw small-unet --unet "$folder/small-unet/unet"

echo 'image,prompt' >"$folder/prompts.csv"
for photo in "$shown"/*.jpg; do
    person=$(basename "$photo" .jpg)
    number=0
    IFS='|'
    for prompt in $prompts; do
        for seed in 0 1; do
            printf '%s/prompt-%02d-seed-%s.png,%s\n' "$person" "$number" "$seed" "$prompt" >>"$folder/prompts.csv"
        done
        number=$((number + 1))
    done
    unset IFS
done
for row in plain laioncele-lora laioncele-unet small-lora small-unet; do
    rm -f "$folder/images/$row/done"
    "$laioncele" evaluate --output "$run" --images "$folder/images/$row" --references "$shown" --prompts "$folder/prompts.csv" \
        --json >"$folder/$row.json"
    touch "$folder/images/$row/done"
done
python3 tools/table2.py "$folder" "$steps"
