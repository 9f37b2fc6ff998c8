# syntax=docker/dockerfile:1
FROM rust:1.95-slim-trixie AS build
RUN apt-get update && apt-get install --yes --no-install-recommends ca-certificates gcc libc6-dev make cmake
WORKDIR /build
# The dependencies first: they change less often than the source. Cargo wants every member of the workspace, and every target that its
# manifest names, to be there.
COPY Cargo.toml Cargo.lock ./
COPY .cargo .cargo
COPY tests/support/Cargo.toml tests/support/
RUN for path in src/main.rs tests/support/src/lib.rs $(sed -n 's/^path = "\(.*\)"/\1/p' Cargo.toml); do \
      mkdir -p "$(dirname "$path")" && echo 'fn main() {}' > "$path"; \
    done \
    && touch src/lib.rs \
    && cargo build --release --locked --bin aws-assume-role
COPY src src
RUN touch src/main.rs src/lib.rs && cargo build --release --locked --bin aws-assume-role

FROM debian:trixie-slim
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /build/target/release/aws-assume-role /usr/local/bin/aws-assume-role
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["aws-assume-role"]
