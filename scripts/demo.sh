#!/usr/bin/env bash
# The embedded demo: teaches the 1.6 M parameter base in assets/tiny-llama two ways of telling a story, switches
# between them and shows before and after. Needs what scripts/build.sh has built.
#
# environment: SHIRA_DEMO_DIR (default outputs/demo), replaced at every run
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

out=${SHIRA_DEMO_DIR:-outputs/demo}
base=assets/tiny-llama
shira=build/bin/shira
prompt="One day, a"

# The value of a key in one line of JSON.
json_value() { sed -E "s/.*\"$1\":([-0-9.e+]+).*/\1/"; }

# Held-out perplexity of a style, with the given flags.
perplexity() {
  "$shira" eval --base_model "$base" --text "$out/data/$1_heldout.txt" --window 256 --json "${@:2}" |
    json_value perplexity
}

teach() {
  echo
  echo "=== Fine-tuning 1 % of the weights on $1 stories"
  "$shira" train "configs/demo_$1.yaml" --set "output_dir=$out/$1" \
    --set "datasets=[{path: $out/data/$1_train.txt, type: text}]"
}

rm -rf "$out"
mkdir -p "$out"
python3 scripts/make_demo_data.py "$out/data"
before_pirate=$(perplexity pirate)
before_robot=$(perplexity robot)
teach pirate
teach robot

echo
echo "=== Switching adapters on one model"
build/bin/switch_adapters "$base" "$prompt" "$out/pirate" "$out/robot"

echo
echo "=== Held-out perplexity, before and after"
printf '%-8s %8.2f -> %6.2f\n' pirate "$before_pirate" "$(perplexity pirate --adapter "$out/pirate")"
printf '%-8s %8.2f -> %6.2f\n' robot "$before_robot" "$(perplexity robot --adapter "$out/robot")"
for style in pirate robot; do
  echo "adapter $out/$style: $(stat -c %s "$out/$style/adapter_model.safetensors") bytes," \
    "base: $(stat -c %s "$base/model.safetensors") bytes"
done
echo
echo "Try: $shira generate --base_model $base --adapter $out/pirate --prompt 'Once upon a time' --temperature 0.8"
