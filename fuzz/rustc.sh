#!/bin/sh
# RUSTC_WRAPPER of `make fuzz-build`: instruments what is fuzzed and nothing else, so that the other dependencies are
# those that are compiled already. These are cargo-fuzz's flags as far as stable Rust has them.
rustc=$1
shift
name=
previous=
for argument; do
    [ "$previous" = --crate-name ] && name=$argument
    previous=$argument
done
case $name in
laioncele_core | laioncele_image | laioncele_web | fuzz_*)
    exec "$rustc" "$@" --cfg fuzzing -C passes=sancov-module -C codegen-units=1 \
        -C llvm-args=-sanitizer-coverage-level=4 -C llvm-args=-sanitizer-coverage-inline-8bit-counters \
        -C llvm-args=-sanitizer-coverage-pc-table -C llvm-args=-sanitizer-coverage-trace-compares \
        -C debug-assertions -C overflow-checks
    ;;
*) exec "$rustc" "$@" ;;
esac
