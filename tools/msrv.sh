#!/bin/sh
# Checks the workspace with the oldest Rust that Cargo.toml promises (`rust-version`).
# Where the compiler at hand is that one, `make clippy` has checked the same already.
set -eu
cd "$(dirname "$0")/.."

minimum=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
case $(rustc --version) in
    "rustc $minimum".*)
        echo "Rust $minimum is the compiler at hand: clippy has checked with it"
        ;;
    *)
        if ! rustup run "$minimum" rustc --version 2>/dev/null; then
            echo "Rust $minimum is not installed: rustup toolchain install $minimum --profile minimal" >&2
            exit 1
        fi
        target=${CARGO_TARGET_DIR:-target}/msrv
        exec rustup run "$minimum" cargo check --release --locked --workspace --all-targets --target-dir "$target"
        ;;
esac
