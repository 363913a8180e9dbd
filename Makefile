# The whole set-up: `make run` builds laioncele and runs the embedded world, `make test` runs every test, `make check` is
# all that CI asks besides.

MANIFEST ?= manifests/mini.toml
OUTPUT ?= laioncele-output

.PHONY: run build test test-hostile check fmt fmt-check clippy clippy-cuda doc docs deny advisories msrv fuzz-build fuzz-check fuzz test-gpu test-attention soak bench bench-planner bench-engine bench-machines bench-merge bench-names bench-ner bench-faces bench-ahash bench-download profile-faces bench-sdxl bench-finetune table2 bench-full-size bench-captions world calibration onnxruntime pyarrow test-readers test-use-encoder bench-pack test-report bench-train test-bucket test-memory test-slurm test-ray wheel test-wheel

# Thirteen stages over the embedded world, then what they made of it against the truth.
run: build
	cargo run --release --quiet -- run --stage all --manifest $(MANIFEST) --output $(OUTPUT)
	cargo run --release --quiet -- mini score --manifest $(MANIFEST) --output $(OUTPUT)

build: onnxruntime
	cargo build --release

# Runs all of them, whatever fails; prints the ten slowest at the end.
test: onnxruntime pyarrow
	tools/test-times.py cargo test --release --locked --workspace --no-fail-fast

# `laioncele download` and the download stage against a hostile web in a network namespace; skipped without the right to make one.
# HOSTILE='--kinds ^heads/' are options of tools/hostile-web/run.sh.
HOSTILE ?=
test-hostile: build
	tools/hostile-web/test.sh $${CARGO_TARGET_DIR:-target}/release/laioncele $(HOSTILE)

# The program as a Python wheel in .wheel/, which `pip install` puts into an environment together with ONNX Runtime. WHEEL='--features cudnn' are
# options of `maturin build`.
WHEEL ?=
wheel:
	tools/wheel.sh $(WHEEL)

# The wheel in a fresh environment: a tiny world is run by it, outside of the checkout and without a compiler.
test-wheel: wheel
	tools/test-wheel.sh

# The page of the run in OUTPUT in a headless browser: no error on its console, every section there. Needs chromium.
test-report: build
	$${CARGO_TARGET_DIR:-target}/release/laioncele report --output $(OUTPUT) --output-file $(OUTPUT)/report.html
	tools/test-report.sh $(OUTPUT)/report.html
# Runs in a bucket whose store fails and that die themselves.
test-bucket: onnxruntime
	cargo test --release --test program -- --ignored bucket

# The tiny world on two nodes of Slurm or Ray, which are installed for it, with workers, nodes and the planner killed; needs root.
test-slurm test-ray: build
	tools/engines/run.sh $${CARGO_TARGET_DIR:-target}/release/laioncele $(@:test-%=%)

# What .ci/run asks before the tests. One profile everywhere, so that clippy, doc and msrv share what is checked of the
# dependencies.
check: fmt-check deny clippy doc msrv fuzz-check

fmt:
	cargo fmt --all

fmt-check:
	cargo fmt --all --check

# The lints are in Cargo.toml, [workspace.lints], each exception with its reason.
clippy:
	cargo clippy --release --locked --workspace --all-targets -- -D warnings

# The same with the code for GPUs; needs the CUDA toolkit, which tools/fetch-cuda.sh can bring.
clippy-cuda:
	tools/with-cuda.sh cargo clippy --release --locked --target-dir $${CARGO_TARGET_DIR:-target}/cuda --workspace --all-targets --features laioncele/cudnn -- -D warnings

# The documentation of our crates, private items included: links that lead nowhere are errors.
doc:
	RUSTDOCFLAGS="-D warnings" cargo doc --release --locked --workspace --no-deps --document-private-items

# The generated pages of docs/, written again: the manifest's from the settings' types, the commands' from their help.
docs:
	cargo run --release --quiet -p laioncele-structure -- docs/manifest.md
	LAIONCELE_WRITE_DOCS=1 cargo test --release --quiet --test program commands_page

# Licences, duplicate versions and sources of the dependencies, as deny.toml wants them.
deny:
	tools/deny.sh check licenses bans sources

# Known vulnerabilities. The database is a git repository at GitHub, so this is no step of .ci/run, which must work without.
advisories:
	tools/deny.sh check advisories

# The oldest Rust that Cargo.toml promises.
msrv:
	tools/msrv.sh

# The fixtures on the first GPU, in float32 and in 16 bits; fails where there is none.
test-gpu:
	tools/with-cuda.sh cargo test --release --target-dir $${CARGO_TARGET_DIR:-target}/cuda --workspace --features laioncele/cudnn --test gpu

# The published dataset of the run in OUTPUT, in every form, read by datasets, polars, DuckDB, pandas, webdataset and mlcroissant. They are
# installed into .readers, unless PYTHON names an interpreter that has them.
test-readers: build
	tools/readers/run.sh $${CARGO_TARGET_DIR:-target}/release/laioncele $(OUTPUT)

# The reference people of the run in OUTPUT drawn by `laioncele generate` and by tools/use-encoder.py with diffusers. PYTHON as above; else
# torch and diffusers are installed into .readers.
test-use-encoder: build
	tools/readers/use-encoder.sh $${CARGO_TARGET_DIR:-target}/release/laioncele $(OUTPUT)

# The GPU's attention kernel held against the definition, on the processor.
test-attention:
	tools/emulate-attention/run.sh

# Runs killed at random moments on SOAK worlds, then the targets and the shipped calibration on SOAK
# full worlds of other seeds, which takes minutes each: SOAK=20 make soak
SOAK ?= 5
soak: onnxruntime
	LAIONCELE_SOAK=$(SOAK) cargo test --release --test program -- --nocapture killed_at_random worlds_of_other_seeds

# Times of the whole run, and of its second run with nothing changed.
bench: build
	python3 benches/whole-run.py

# Time and memory of planning 1,000, 10,000 and 100,000 tasks.
bench-planner:
	cargo bench --profile release --bench planner

# What the engine itself costs: planning, then milliseconds of an empty task, reading the ledger and memory, at BENCH_ENGINE buckets
# with two tasks each: BENCH_ENGINE='1000 10000 50000'.
BENCH_ENGINE ?= 1000 10000
bench-engine: build bench-planner
	python3 benches/engine.py $(BENCH_ENGINE)

# What the coordinator costs with a thousand workers that only sleep, some of which die or are cut off: processor, memory.
# BENCH_WORKERS, BENCH_TASKS and BENCH_MEAN_MS (of a task) say otherwise. Two open files a worker.
bench-machines: export BENCH_WORKERS ?= 1000
bench-machines: export BENCH_TASKS ?= 100000
bench-machines: export BENCH_MEAN_MS ?= 2000
bench-machines:
	ulimit -n 8192 && cargo test --release -p laioncele --lib -- --ignored --nocapture bench_a_thousand_workers

# Memory, time and files of merge-names' steps on synthetic mentions: BENCH_MERGE='10000000 1000000' are mentions and
# distinct spellings.
BENCH_MERGE ?= 1000000 100000
bench-merge:
	cargo run --release --quiet -p laioncele-merge-names --example bench-merge -- $(BENCH_MERGE)

# Memory and time of packing a bucket and of publishing it: BENCH_PACK='20000 60000' are photos and bytes of each.
BENCH_PACK ?= 2000 60000
bench-pack:
	cargo run --release --quiet -p laioncele-pack-shards --example bench-pack -- $(BENCH_PACK)

# Normalized mentions and merged spellings a second, and rapidfuzz on a sample: BENCH_NAMES='10000000 1 200000' are spellings, seed
# and the sample.
BENCH_NAMES ?= 10000000 1 200000
bench-names:
	benches/names.sh $(BENCH_NAMES)

# img2dataset and download/ on the same photos of a local server: BENCH_DOWNLOAD='20000 500 2' are small photos, large photos
# and passes.
BENCH_DOWNLOAD ?= 20000 500 2
bench-download:
	benches/download.sh $(BENCH_DOWNLOAD)

# spaCy and models/ner on the same captions: BENCH_NER='20000 5' are captions and passes.
BENCH_NER ?= 20000 5
bench-ner:
	benches/ner.sh $(BENCH_NER)

# OpenCV with Python's ONNX Runtime and models/face, from JPEG bytes to embeddings: BENCH_FACES=5 are passes.
BENCH_FACES ?= 5
bench-faces: onnxruntime
	benches/faces.sh $(BENCH_FACES)

# Python's imagehash and dedupe-images' hashes on the same photos: BENCH_AHASH='3 400' are passes and photos.
BENCH_AHASH ?= 3 400
bench-ahash:
	benches/ahash.sh $(BENCH_AHASH)

# PyTorch's trainer of the encoder and ours at the paper's size: BENCH_TRAIN='5 3' are steps and passes.
BENCH_TRAIN ?= 5 3
bench-train:
	benches/train.sh $(BENCH_TRAIN)

# Where the time of both goes, by perf.
profile-faces: onnxruntime
	benches/faces.sh profile

# diffusers and models/sdxl on the same models, on a GPU too where there is one: BENCH_SDXL='5 20' are passes and steps.
BENCH_SDXL ?= 5 20
bench-sdxl:
	benches/sdxl.sh $(BENCH_SDXL)

# Training steps of diffusers, peft and torch, and of models/finetune, on the same models: BENCH_FINETUNE are options of bench.py.
bench-finetune:
	benches/finetune.sh $(BENCH_FINETUNE)

# Table 2 of the paper on the embedded world: docs/fine-tuning.md says what it does and how long it takes.
table2: build
	python3 tools/table2.py $(TABLE2)

# An SDXL of the real size: FULL_SIZE=FOLDER keeps the weights.
bench-full-size: build
	python3 benches/full-size.py $(FULL_SIZE)

# extract-names over CAPTIONS captions in files of PER_FILE: captions per second and peak memory. KIND is golden, dropped (every row is) or
# long (captions of 1 MB).
CAPTIONS ?= 10000000
PER_FILE ?= 1000000
KIND ?= golden
bench-captions: build pyarrow
	python3 benches/extract-names.py $(CAPTIONS) $(PER_FILE) $(KIND)

# Every step on a table of photos ten times larger than each process's memory; MEGABYTES of it says otherwise. Needs 25 times that on the disk (TMPDIR).
test-memory: build pyarrow
	tools/test-memory.py $${CARGO_TARGET_DIR:-target}/release/laioncele $(MEGABYTES)

# The embedded world of the repository, written again.
world:
	cargo run --release --quiet -- mini build --seed 1 --size full manifests

# What its face thresholds stand for, measured again on its portraits: after other weights of its mini SDXL.
calibration: build
	cargo run --release --quiet -- run --stage ..verify-portraits --manifest manifests/mini.toml --output $(OUTPUT)
	cargo run --release --quiet -- calibrate --manifest manifests/mini.toml --output $(OUTPUT) --write manifests/mini/calibration.toml

# The face networks' runtime: a shared library, loaded at run time.
onnxruntime:
	tools/fetch-onnxruntime.sh

# Another reader of the shards, for the test that loads them without our code.
pyarrow:
	tools/fetch-pyarrow.sh

# The targets that fuzz what the web and workers send, instrumented by stable Rust (fuzz/README.md).
fuzz-build:
	RUSTC_WRAPPER=$(CURDIR)/fuzz/rustc.sh CARGO_TARGET_DIR=$${CARGO_TARGET_DIR:-$(CURDIR)/target} cargo build --release --manifest-path fuzz/Cargo.toml

# That they compile, which CI asks: no code is made of them.
fuzz-check:
	RUSTC_WRAPPER=$(CURDIR)/fuzz/rustc.sh cargo check --release --locked --manifest-path fuzz/Cargo.toml --target-dir $${CARGO_TARGET_DIR:-$(CURDIR)/target}

# Runs one of them: make fuzz FUZZ=url SECONDS=300
FUZZ ?= url
SECONDS ?= 300
fuzz: fuzz-build
	mkdir -p fuzz/found/$(FUZZ) fuzz/artifacts
	$${CARGO_TARGET_DIR:-$(CURDIR)/target}/release/fuzz_$(FUZZ) -max_total_time=$(SECONDS) -timeout=10 -rss_limit_mb=2048 -artifact_prefix=fuzz/artifacts/$(FUZZ)- fuzz/found/$(FUZZ) fuzz/corpus/$(FUZZ)
