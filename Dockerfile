# laioncele with ONNX Runtime and the embedded world, for processors.
#   docker build -t laioncele .
#   docker run --rm -v "$PWD:/work" laioncele run --output /work/output
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked --bin laioncele && strip target/release/laioncele

FROM python:3.12-slim-bookworm AS onnxruntime
WORKDIR /fetch
COPY tools/fetch-onnxruntime.sh tools/
RUN tools/fetch-onnxruntime.sh

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libstdc++6 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /src/target/release/laioncele /usr/local/bin/laioncele
COPY --from=onnxruntime /fetch/.onnxruntime/libonnxruntime.so /usr/local/lib/libonnxruntime.so
COPY manifests /usr/local/share/laioncele/manifests
COPY LICENSE NOTICE /usr/local/share/laioncele/
WORKDIR /work
ENTRYPOINT ["laioncele"]
