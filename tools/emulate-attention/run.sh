#!/bin/sh
# Runs the GPU's attention kernel on the processor and holds it against the definition: its indices, barriers and sums, not
# the device's own products. Wants a C++20 compiler with _Float16 (gcc 12 or newer); takes a minute.
set -eu

cd "$(dirname "$0")"
program=$(mktemp)
trap 'rm -f "$program"' EXIT
"${CXX:-c++}" -std=c++20 -O1 -pthread -Idevice -x c++ -o "$program" emulate.cpp
"$program"
