# The whole set-up: `make run` builds laioncele and runs the embedded world, `make test` runs every test.

.PHONY: build test onnxruntime

build: onnxruntime
	cargo build --release

# The face networks' runtime: a shared library, loaded at run time.
onnxruntime:
	tools/fetch-onnxruntime.sh

test: onnxruntime
	cargo test --release --workspace
