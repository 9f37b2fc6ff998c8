# The image: one binary, the C library beside it, and the certificate authorities. There is no shell in it and no package manager.
#
# With musl it would be one static file, but there jemalloc has no background threads, which give memory back to the node. And a static glibc
# looks names up with the libraries that it was built with, so that they would have to be beside it all the same.
#
#   docker build .                                               builds everything, for this machine
#   docker buildx build --platform linux/amd64,linux/arm64 .     for both, compiled across
#   docker build --target binary --output target/binary .        gives the binary
#
# Where no registry can be reached, the binary is built outside, image/root puts the rest beside it, and the target "prebuilt" takes that folder
# as it is. "make image" does so, with buildah.

# What it is built with. The release workflow gives it with its digest.
ARG RUST_IMAGE=rust:1.95-slim-trixie
# The list of what is in the image has the crates too: they are in Cargo.lock, which is in the context.
ARG BUILDKIT_SBOM_SCAN_CONTEXT=true

# What both ways have in common. It comes first, and the prebuilt one after it: buildah builds all stages up to the one that it is asked for.
FROM scratch AS base
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="aws-assume-role" \
      org.opencontainers.image.description="Keeps Kubernetes Secrets filled with short-lived AWS credentials." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
ENV PATH=/usr/local/bin
# By number, so that the kubelet can tell that it is not root.
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/aws-assume-role"]

# The context is the folder that image/root has made.
FROM base AS prebuilt
COPY . /

FROM --platform=$BUILDPLATFORM $RUST_IMAGE AS build
ARG TARGETARCH
WORKDIR /build
# The compiler is that of the machine that builds. The C library is that of the architecture which is built for, with its security updates.
# Kernels for ARM have pages of 4, 16 or 64 KiB, and an allocator that was built for smaller ones than the kernel's does not start.
RUN set -eu; \
    case "$TARGETARCH" in \
      amd64) target=x86_64-unknown-linux-gnu; prefix=x86_64-linux-gnu; compiler=gcc-x86-64-linux-gnu; pages= ;; \
      arm64) target=aarch64-unknown-linux-gnu; prefix=aarch64-linux-gnu; compiler=gcc-aarch64-linux-gnu; pages=16 ;; \
      *) echo "There is no image for $TARGETARCH."; exit 1 ;; \
    esac; \
    echo "export CARGO_BUILD_TARGET=$target ${pages:+JEMALLOC_SYS_WITH_LG_PAGE=$pages}" > /settings; \
    across=; \
    if [ "$TARGETARCH" != "$(dpkg --print-architecture)" ]; then \
      dpkg --add-architecture "$TARGETARCH"; \
      across="$compiler libc6-dev-$TARGETARCH-cross"; \
      variable=$(echo "$target" | tr - _); \
      echo "export CC_$variable=$prefix-gcc AR_$variable=$prefix-ar" >> /settings; \
      echo "export CARGO_TARGET_$(echo "$variable" | tr a-z A-Z)_LINKER=$prefix-gcc" >> /settings; \
    fi; \
    apt-get update; \
    apt-get install --yes --no-install-recommends \
      binutils ca-certificates gcc libc6-dev make "libc6:$TARGETARCH" "libgcc-s1:$TARGETARCH" $across; \
    rm -rf /var/lib/apt/lists/*; \
    rustup target add "$target"
# The dependencies first: they change less often than the source. Cargo wants every member of the workspace, and every target that its
# manifest names, to be there.
COPY Cargo.toml Cargo.lock ./
COPY .cargo .cargo
COPY tests/support/Cargo.toml tests/support/
RUN . /settings \
    && for path in src/main.rs tests/support/src/lib.rs $(sed -n 's/^path = "\(.*\)"/\1/p' Cargo.toml); do \
      mkdir -p "$(dirname "$path")" && echo 'fn main() {}' > "$path"; \
    done \
    && touch src/lib.rs \
    && cargo build --release --locked --bin aws-assume-role
COPY src src
RUN . /settings && touch src/main.rs src/lib.rs && cargo build --release --locked --bin aws-assume-role
COPY image image
RUN . /settings && image/root "target/$CARGO_BUILD_TARGET/release/aws-assume-role" /image

FROM scratch AS binary
COPY --from=build /image/usr/local/bin/aws-assume-role /

FROM base AS final
COPY --from=build /image /
