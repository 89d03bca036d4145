#!/usr/bin/env bash
# Everything that needs a real GPU, in one go: `bash run.sh [--model DIR [--drafter DIR]]`. Needs a driver and either nvcc or the PTX that the package may carry.
# It reads the GPU's settings and never changes them. The last thing it prints is a short table; it exits with 1 where a step failed or no test ran.
set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=${LLSPEC_GPU_OUT:-$here/results}
model=() failed=()
while (($# > 0)); do
    case $1 in
        --model | --drafter)
            (($# > 1)) || { echo "run.sh: $1 needs a folder" >&2; exit 2; }
            model+=("$1" "$(realpath "$2")")
            shift 2
            ;;
        *) echo "run.sh: found '$1', expected --model DIR or --drafter DIR" >&2; exit 2 ;;
    esac
done
mkdir -p "$work"
export DOTNET_SYSTEM_GLOBALIZATION_INVARIANT=1

# The GPU, also where the package lies in a checkout that has built the emulated device.
export LLSPEC_TEST_DEVICE=cuda
unset LLSPEC_CUDA_LIBRARY

# A toolkit that is installed and not in the path.
for folder in "${CUDA_HOME:-}" /usr/local/cuda; do
    command -v nvcc >/dev/null || [[ ! -x $folder/bin/nvcc ]] || export PATH=$PATH:$folder/bin
done

# cuBLAS where the loader does not look: the toolkit's, or what PyTorch brought.
find_cublas() {
    local folder file
    for folder in "${CUDA_HOME:-/usr/local/cuda}"/lib64 "${CUDA_HOME:-/usr/local/cuda}"/targets/*/lib \
        $(python3 -c 'import glob, site; print(*(f for s in site.getsitepackages() + [site.getusersitepackages()] for f in glob.glob(s + "/nvidia/*/lib")))' 2>/dev/null); do
        for file in "$folder"/libcublas.so.1[1-9]; do
            [[ -f $file ]] && printf '%s\n' "$file" && return
        done
    done
}
if [[ -z ${LLSPEC_CUBLAS_LIBRARY:-} ]] && ! ldconfig -p 2>/dev/null | grep -q 'libcublas\.so'; then
    cublas=$(find_cublas)
    [[ -z $cublas ]] || export LLSPEC_CUBLAS_LIBRARY=$cublas LD_LIBRARY_PATH=$(dirname "$cublas")${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
fi

step() {
    local name=$1
    shift
    printf '\n== %s\n' "$name"
    "$@" 2>&1 | tee "$work/$name.log"
    ((PIPESTATUS[0] == 0)) || failed+=("$name")
}

# The kernels, compiled here; where there is no nvcc, what the package carries.
kernels() {
    if command -v nvcc >/dev/null; then
        bash "$here/native/cuda/compile.sh" "$work/kernels"
    else
        echo "no nvcc: the tests use the device code that was packed (PTX, compiled by the driver)"
    fi
}

# Tests of the published projects; all skipped, or none, is a failure on a GPU machine.
tests() {
    local log=$work/$1.out status=0 total skipped
    "$here/$1/$2" -noColor "${@:3}" | tee "$log" || status=1
    read -r total skipped < <(sed -nE 's/.*Total: ([0-9]+),.*Skipped: ([0-9]+),.*/\1 \2/p' "$log" | tail -n 1)
    [[ -n ${total:-} ]] && ((total > skipped)) || { echo "no test ran on the GPU"; return 1; }
    return "$status"
}

# Every kernel against double precision, with fresh inputs and poisoned outputs. The last line counts.
kernel_tests() {
    [[ -n ${LLSPEC_CUDA_KERNELS:-} ]] || { echo "no device code: install nvcc"; return 1; }
    "$here/kernel-tests/llspec-cuda-tests" --driver libcuda.so.1 --module "$LLSPEC_CUDA_KERNELS" --seed "$(date +%s)"
}

# A short list: the sanitizer slows kernels a hundredfold.
sanitize() {
    [[ -n ${LLSPEC_CUDA_KERNELS:-} ]] || { echo "no device code: install nvcc"; return 1; }
    command -v compute-sanitizer >/dev/null || { echo "compute-sanitizer is not installed (it comes with the CUDA toolkit)"; return 1; }
    local tool kernel
    for tool in memcheck racecheck initcheck synccheck; do
        for kernel in rms_norm matmul attention tree accept; do
            echo "$tool: $kernel"
            compute-sanitizer --tool "$tool" --error-exitcode 1 "$here/kernel-tests/llspec-cuda-tests" --driver libcuda.so.1 --module "$LLSPEC_CUDA_KERNELS" --filter "$kernel" || return 1
        done
    done
}

# The peer for attention, where Python has PyTorch.
sdpa() {
    command -v python3 >/dev/null && python3 -c 'import torch; assert torch.cuda.is_available()' 2>/dev/null || { echo "no PyTorch: its attention is not measured"; return 0; }
    python3 "$here/sdpa.py"
}

# What mma.sync and ldmatrix give for known inputs, for the emulated device's own test (native/cuda/tests/vectors).
vectors() {
    command -v nvcc >/dev/null || { echo "no nvcc: no vectors"; return 0; }
    nvcc -std=c++17 -arch=native -o "$work/fragments" "$here/native/cuda/tools/fragments.cu" && "$work/fragments" >"$work/fragments.txt" && wc -l "$work/fragments.txt"
}

command -v nvidia-smi >/dev/null && nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.sm,clocks.mem,power.limit --format=csv | tee "$work/gpu.csv"
step kernels kernels
for image in "$work/kernels/llspec_kernels.fatbin" "$here"/kernel-tests/llspec_kernels.{fatbin,ptx}; do
    [[ -s $image ]] && export LLSPEC_CUDA_KERNELS=$image && break
done
step interop-tests tests interop LowLevelSpec.Interop.Tests
step engine-tests tests tests LowLevelSpec.Engine.Tests -class '*Cuda*'
step kernel-tests kernel_tests
step sanitizer sanitize
step vectors vectors
step pytorch sdpa
step benchmark "$here/bench/LowLevelSpec.CudaBench" --device cuda "${model[@]}"

printf '\n'
sed -n '/^|/p' "$work/benchmark.log" "$work/pytorch.log"
tail -n 1 "$work/kernel-tests.log"
for name in interop-tests engine-tests; do
    sed -nE "s/.*Total: ([0-9]+), Errors: ([0-9]+), Failed: ([0-9]+), Skipped: ([0-9]+),.*/$name: \1 tests, \3 failed, \2 errors, \4 skipped/p" "$work/$name.log" | tail -n 1
done
if ((${#failed[@]} > 0)); then
    printf 'failed: %s (logs in %s)\n' "${failed[*]}" "$work"
    exit 1
fi
printf 'all steps passed (logs in %s)\n' "$work"
