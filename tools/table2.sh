#!/bin/sh
# Table 2 of the paper on the embedded world: tools/table2.sh [STEPS [PEOPLE [FOLDER]]]
# Runs the world's manifest in FOLDER if it has not run there, trains LoRA and U-Net on its LaionCele and on a second small
# set, generates the same images with all five U-Nets and scores them side by side. What is there already is not made again.
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

# The paper's rate, 1e-5, moves nothing in so few steps.
tune() { # what, data set, name, learning rate
    echo "training $3" >&2
    "$laioncele" finetune --output "$run" --what "$1" --dataset "$2" --into "$folder/$3" --steps "$steps" \
        --evaluation-people "$shown" --save-as f32 --batch 4 --resolution 128 --learning-rate "$4" >/dev/null
}
tune lora "$run/laioncele" laioncele-lora 1e-3
tune unet "$run/laioncele" laioncele-unet 1e-4
tune lora "$small" small-lora 1e-3
tune unet "$small" small-unet 1e-4

# The same images with all five: who is shown, what, and the noise are equal; only the U-Net differs.
seeds='0 1'
prompts='a portrait of a person|a photo of a person wearing a hat|a photo of a person outdoors'
list=$folder/systems.csv
echo 'system,image,person,prompt,seed' >"$list"
draw() { # system, options of generate
    system=$1
    shift
    echo "drawing $system" >&2
    for photo in "$shown"/*.jpg; do
        person=$(basename "$photo" .jpg)
        number=0
        (
            IFS='|'
            for prompt in $prompts; do set -- "$@" --prompt "$prompt"; done
            # Images of the same request are drawn again, of another one refused.
            "$laioncele" generate "$photo" --output "$run" --into "$folder/images/$system/$person" \
                --images "$(echo "$seeds" | wc -w)" --overwrite "$@" >/dev/null
        )
        echo "$prompts" | tr '|' '\n' | while read -r prompt; do
            for seed in $seeds; do
                printf '%s,images/%s/%s/prompt-%02d-seed-%s.png,%s,"%s",%s\n' "$system" "$system" "$person" \
                    "$number" "$seed" "$person" "$prompt" "$seed" >>"$list"
            done
            number=$((number + 1))
        done
    done
}
draw plain
draw laioncele-lora --lora "$folder/laioncele-lora/pytorch_lora_weights.safetensors"
draw laioncele-unet --unet "$folder/laioncele-unet/unet"
draw small-lora --lora "$folder/small-lora/pytorch_lora_weights.safetensors"
draw small-unet --unet "$folder/small-unet/unet"

"$laioncele" evaluate --output "$run" --systems "$list" --references "$shown" --table 2 --paper --format markdown \
    >"$folder/table2.md"
{ echo && python3 tools/table2.py "$folder"; } >>"$folder/table2.md"
cat "$folder/table2.md"
