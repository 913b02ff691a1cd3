#!/bin/sh
# Builds the images for every machine into FOLDER (or beside the sources): build.sh [FOLDER]
set -eu
cd "$(dirname "$0")"
into=${1:-.}

build() { # MACHINE COMPILER FLAGS...
    machine=$1 compiler=$2
    shift 2
    mkdir -p "$into/$machine"
    library() { # NAME FLAGS...
        name=$1
        shift
        "$compiler" -shared -fPIC -O1 -s -nostdlib -fno-ident -fno-asynchronous-unwind-tables -fno-stack-protector \
            -Wl,--build-id=none,-z,noseparate-code,-z,max-page-size=4096,-soname,"lib$name.so" \
            -o "$into/$machine/lib$name.so" "$name.c" "$@"
    }
    library provider "$@" -Wl,--hash-style=gnu
    library user "$@" -Wl,--hash-style=gnu "$into/$machine/libprovider.so"
    library fixed "$@" -Wl,--hash-style=sysv "$into/$machine/libprovider.so"
}

build i386 i686-linux-gnu-gcc
build arm arm-linux-gnueabihf-gcc
build aarch64 aarch64-linux-gnu-gcc -mtls-dialect=trad
build riscv64 riscv64-linux-gnu-gcc
