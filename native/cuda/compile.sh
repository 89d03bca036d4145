#!/usr/bin/env bash
# Compiles the kernels into loadable modules: `compile.sh OUT_FOLDER`. With nvcc a fatbin of all architectures; without it, NVRTC's sm_90 cubin and PTX.
# Registers, spills and shared memory of every kernel go to standard output; a spill or local memory fails.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=$1

# The one list of architectures: code for each that the compiler knows, PTX of the newest for those to come.
architectures=(80 86 89 90 120)

die() {
    printf 'compile.sh: %s\n' "$1" >&2
    exit 1
}

# One line per kernel from the assembler's report on standard input.
report() {
    awk '/Compiling entry function/ { match($0, /\x27[^\x27]+\x27/); kernel = substr($0, RSTART + 1, RLENGTH - 2); target = $NF; gsub(/[\x27:]/, "", target) }
         /bytes stack frame/ { stack = $0; sub(/^[^0-9]*/, "", stack); split(stack, n, /[^0-9]+/) }
         /Used [0-9]+ registers/ { match($0, /Used [0-9]+/); used = substr($0, RSTART + 5, RLENGTH - 5)
             shared = "dynamic only"; if (match($0, /[0-9]+ bytes smem/)) shared = substr($0, RSTART, RLENGTH)
             printf "%-8s %-26s %3d registers, %d bytes spilled, %d bytes of local memory, shared memory: %s\n", target, kernel, used, n[2] + n[3], n[1], shared
             if (n[1] + n[2] + n[3] > 0) bad = 1; count++ }
         END { if (!count) { print "no kernel was reported"; exit 1 }; if (bad) print "kernels spill or use local memory"; exit bad }'
}

mkdir -p "$out"
rm -f "$out"/llspec_kernels.*
if nvcc=$(command -v nvcc); then
    known=$("$nvcc" --list-gpu-code) options=() newest=
    for architecture in "${architectures[@]}"; do
        if [[ $known == *sm_$architecture* ]]; then
            options+=(-gencode "arch=compute_$architecture,code=sm_$architecture")
            newest=$architecture
        fi
    done
    [[ -n $newest ]] || die "$nvcc knows none of sm_${architectures[*]}"
    options+=(-gencode "arch=compute_$newest,code=compute_$newest")
    fatbin() { "$nvcc" "$@" -fatbin -std=c++17 -lineinfo -Xptxas -v "${options[@]}" -o "$out/llspec_kernels.fatbin" "$here/kernels.cu" >"$out/kernels.log" 2>&1; }
    # An nvcc older than the machine's g++ refuses it; any compiler that it takes will do, since only device code is made.
    fatbin || {
        first=$(cat "$out/kernels.log") host=
        for host in clang++ clang++-{18,17,16,15,14,13} g++-{13,12,11,10} none; do
            [[ $host != none ]] || { printf '%s\n' "$first" >&2; die "nvcc failed"; }
            ! command -v "$host" >/dev/null || ! fatbin -ccbin "$host" || break
        done
        echo "nvcc does not take the machine's own host compiler; $host it takes"
    }
else
    "$out/llspec-nvrtc" "$here/kernels.cu" sm_90 "$out/llspec_kernels.cubin" >"$out/kernels.log" || { cat "$out/kernels.log" >&2; die "NVRTC failed"; }
    # PTX of the oldest architecture runs on all later ones.
    "$out/llspec-nvrtc" "$here/kernels.cu" "compute_${architectures[0]}" "$out/llspec_kernels.ptx" >/dev/null || die "NVRTC failed"
fi
report <"$out/kernels.log"
