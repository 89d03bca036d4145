#!/usr/bin/env bash
# One door to everything a developer does here: `./build.sh help` lists the verbs.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
solution=$root/LowLevelSpec.sln
out=$root/out

export DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_NOLOGO=1 DOTNET_CLI_UI_LANGUAGE=en
# The live terminal display rewrites lines, which nothing can parse.
export MSBUILDTERMINALLOGGER=off
# A bare Debian has no ICU, without which the SDK refuses to start; nothing here needs it.
export DOTNET_SYSTEM_GLOBALIZATION_INVARIANT=1
# The native CPU kernels, once `native` has built them.
[[ -n ${LLSPEC_NATIVE:-} || ! -d $out/native ]] || export LLSPEC_NATIVE=$out/native

help() {
    cat <<'TEXT'
usage: ./build.sh VERB [arguments]

  demo           builds the CLI, then shows a model writing with speculation
  build          restores and builds everything; leaves a runnable out/llspec
  test           builds, then runs all tests; arguments go on to `dotnet test`
  bench          builds, then runs the benchmarks; arguments go on to them
  golden DIR     checks the engine against a folder of golden vectors
  format         formats the code; `format --check` only verifies
  pack           makes the NuGet packages in out/packages
  train-package [RID]
                 makes out/llspec-train-RID.tar.xz (linux-x64 by default): the CLI with its runtime
                 and native kernels, for machines without .NET that are to train or distil
  gpu-package    packs tests, benchmark and sources for a machine with a GPU: out/llspec-gpu.tar.xz
  native         builds the native parts into out/native: CPU kernels, emulated CUDA device, loadable kernels
  cuda-check     compiles the CUDA kernels (sm_90 at least), then runs their tests on the emulated device, sanitizers included
  test-kernel NAME [--backend cpu|emulated|cuda] [--seed S]
                 one operation's tests on one backend; NAME as in docs/cuda.md, e.g. attention
  make-embedded DIR [baselines] [install]
                 trains the pair in models/ again, in DIR (after `build`; needs the Debian package bible-kjv); `baselines`
                 adds EAGLE-2 and independent drafters, which are not shipped
  doctor         shows what was found on this machine, and what to do about the rest
  help           this table

needs a .NET 10 SDK and installs one into ~/.dotnet where there is none; the native verbs need cmake, g++ and nvcc or NVRTC, which root on Debian gets installed
TEXT
}

say() { printf 'build.sh: %s\n' "$1" >&2; }

die() {
    say "$1"
    exit "${2:-1}"
}

has_sdk() { [[ $("$1" --list-sdks 2>/dev/null) =~ (^|$'\n')10\. ]]; }

# Sets `dotnet` to a dotnet with a .NET 10 SDK, which it installs where there is none.
find_dotnet() {
    dotnet=$(command -v dotnet || true)
    [[ -n $dotnet ]] && has_sdk "$dotnet" && return
    dotnet=${HOME:?}/.dotnet/dotnet
    [[ -x $dotnet ]] && has_sdk "$dotnet" || install_dotnet
    export DOTNET_ROOT=$HOME/.dotnet PATH=$HOME/.dotnet:$PATH
}

install_dotnet() {
    local script want="install the .NET 10 SDK (https://dotnet.microsoft.com/download/dotnet/10.0) and try again"
    say "no .NET 10 SDK found; installing one into $HOME/.dotnet"
    script=$(mktemp)
    # shellcheck disable=SC2064 # the name is known now
    trap "rm -f '$script'" EXIT
    curl -fsSL https://dot.net/v1/dotnet-install.sh -o "$script" 2>/dev/null ||
        wget -qO "$script" https://dot.net/v1/dotnet-install.sh 2>/dev/null ||
        die "the .NET install script can't be downloaded: $want"
    bash "$script" --channel 10.0 --install-dir "$HOME/.dotnet" >&2 || die "the .NET SDK can't be installed: $want"
    has_sdk "$dotnet" || die "the .NET SDK just installed does not run: $want"
}

# From the root: there global.json chooses the SDK and the test runner.
run_dotnet() { (cd "$root" && "$dotnet" "$@"); }

compile() {
    find_dotnet
    run_dotnet restore "$solution"
    run_dotnet build "$solution" -c Release --no-restore
}

# Leaves the CLI in out/cli and a launcher at out/llspec, which finds the runtime also where only ~/.dotnet has it.
publish() {
    run_dotnet publish src/Cli -c Release -o "$out/cli" "$@" || return
    lay_native
    cat >"$out/llspec" <<'LAUNCHER'
#!/bin/sh
here=$(dirname "$(readlink -f "$0")")
if [ -z "${DOTNET_ROOT:-}" ] && ! command -v dotnet >/dev/null 2>&1 && [ -x "${HOME:-}/.dotnet/dotnet" ]; then
    export DOTNET_ROOT="$HOME/.dotnet"
fi
exec "$here/cli/llspec" "$@"
LAUNCHER
    chmod +x "$out/llspec"
}

# The CPU kernels beside the CLI, whichever of the two was built first.
lay_native() {
    [[ ! -d $out/native || ! -d $out/cli ]] || find "$out/native" -name '*llspec_cpu.*' -exec cp {} "$out/cli/" \;
}

build() {
    compile
    publish --no-build
}

# Runs all tests. The last line counts them over all projects; no summary is a failure, and so are zero tests.
run_tests() {
    compile
    local log=$out/test.log status=0 total failed passed skipped
    mkdir -p "$out"
    # A filter may leave a project without tests (exit code 8); without one that is a mistake.
    (($# == 0)) || set -- --ignore-exit-code 8 "$@"
    run_dotnet test --solution "$solution" -c Release --no-build --no-progress --no-ansi --output Normal "$@" 2>&1 | tee "$log" || status=$?

    # A skipped test prints "skipped NAME" and its reason in the next line.
    awk '/^skipped / { getline; sub(/^ +/, ""); reasons[$0]++ }
         END { for (reason in reasons) printf "skipped %d: %s\n", reasons[reason], reason }' "$log" | sort

    # What failed is repeated where it is read first: each failure with the first 20 lines of what it says.
    awk '/^failed / { left = 21 } /^[^ ]/ && !/^failed / { left = 0 } left-- > 0' "$log"

    # It closes with lines "  total: 3", "  failed: 0", "  succeeded: 2", "  skipped: 1", summed over the projects.
    total=$(count total "$log") failed=$(count failed "$log") passed=$(count succeeded "$log") skipped=$(count skipped "$log")
    [[ -n $total && -n $failed && -n $passed && -n $skipped ]] || die "the tests ended without a summary"
    ((total > 0)) || say "no test ran"
    printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
    ((status == 0 && failed == 0 && total > 0))
}

count() { sed -nE "s/^[[:space:]]*$1: ([0-9]+)[[:space:]]*$/\1/p" "$2" | tail -n 1; }

format() {
    find_dotnet
    case "${1:-}" in
        '') run_dotnet format "$solution" ;;
        --check) run_dotnet format "$solution" --verify-no-changes ;;
        *) die "format: unknown argument '$1', expected --check or nothing" 2 ;;
    esac
}

golden() {
    [[ $# -ge 1 ]] || die "golden: give the folder of golden vectors" 2
    [[ -d $1 ]] || die "golden: $1 is no folder"
    local folder
    folder=$(cd "$1" && pwd)
    shift
    find_dotnet
    run_dotnet build tests/Golden -c Release >&2
    run_dotnet run --project tests/Golden -c Release --no-build -- "$folder" "$@"
}

bench() {
    [[ -d $root/bench ]] || die "there are no benchmarks yet"
    find_dotnet
    run_dotnet run --project bench -c Release -- "$@"
}

pack() {
    find_dotnet
    rm -rf "$out/packages"
    local project
    for project in Models Interop Engine; do
        run_dotnet pack "src/$project" -c Release -o "$out/packages"
    done
    ls "$out/packages"
}

# The CLI with its runtime in one archive, for a machine that has neither .NET nor this repository.
train-package() {
    find_dotnet
    local rid=${1:-linux-x64} name
    name=llspec-train-$rid
    rm -rf "${out:?}/$name" "$out/$name".tar.*
    run_dotnet publish src/Cli -c Release -r "$rid" --self-contained -p:DebugType=none -p:GenerateDocumentationFile=false -o "$out/$name"
    if [[ $rid == linux-x64 ]]; then
        build_native llspec_cpu
        cp "$out/native/libllspec_cpu.so" "$out/$name/"
    fi
    cp "$root/bench/train-comparison.sh" "$out/$name/"
    tar -C "$out" -cJf "$out/$name.tar.xz" "$name"
    say "$out/$name.tar.xz, $(du -h "$out/$name.tar.xz" | cut -f1): unpack it and run $name/llspec train --help"
}

# Installs Debian packages where this is root's machine; elsewhere what is missing is named.
install_packages() {
    local want=$1
    shift
    [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null || die "$want is missing: install it and try again"
    say "installing $*"
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"; } >&2 || die "$want can't be installed: install it and try again"
}

need_native_tools() {
    command -v cmake >/dev/null && command -v g++ >/dev/null && command -v make >/dev/null || install_packages "cmake, make or g++" cmake make g++
}

# nvcc, or NVRTC 11.8 from Debian's non-free component: 17 MB to load, needs no GPU.
need_cuda_compiler() {
    command -v nvcc >/dev/null && return
    ldconfig -p | grep -q 'libnvrtc\.so' && return
    [[ $(id -u) == 0 ]] && grep -qs '^ID=debian' /etc/os-release || die "no CUDA compiler: install nvcc, or NVRTC (Debian: libnvrtc11.2, libnvrtc-builtins11.8 of non-free)"
    if ! apt-cache policy libnvrtc11.2 2>/dev/null | grep -q 'Candidate: [0-9]'; then
        # The machine's own mirror of the release, one component more.
        local codename mirror
        # shellcheck source=/dev/null
        codename=$(. /etc/os-release && printf '%s' "${VERSION_CODENAME:-}")
        # A fresh machine has no package lists yet, and apt names only the mirrors whose lists it has.
        [[ -n $(apt-get indextargets --format '$(REPO_URI)') ]] || apt-get update >&2 || true
        mirror=$(apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(COMPONENT)' | awk -v codename="$codename" '$2 == codename && $3 == "main" { print $1; exit }')
        [[ -n $codename && -n $mirror ]] || die "no CUDA compiler, and apt knows no mirror of this release: install nvcc, or NVRTC (Debian: libnvrtc11.2, libnvrtc-builtins11.8 of non-free)"
        printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: non-free\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n' "$mirror" "$codename" \
            >/etc/apt/sources.list.d/llspec-non-free.sources
    fi
    install_packages "NVRTC" libnvrtc11.2 libnvrtc-builtins11.8
}

# Builds targets of the native build (all by default); what goes wrong is shown.
build_native() {
    local log=$out/native.log targets=()
    (($# == 0)) || targets=(--target "$@")
    need_native_tools
    mkdir -p "$out"
    { cmake -S "$root" -B "$out/cmake" && cmake --build "$out/cmake" -j "$(nproc)" "${targets[@]}"; } >"$log" 2>&1 || {
        cat "$log" >&2
        die "the native build failed"
    }
    lay_native
}

native() {
    build_native
    need_cuda_compiler
    "$root/native/cuda/compile.sh" "$out/native"
}

# Runs one program of the kernel tests and adds its counts to passed and failed.
count_kernel_tests() {
    local log=$out/kernel-tests.log status=0 last
    "$@" 2>&1 | tee "$log" | grep -v ' passed, ' || true
    last=$(tail -n 1 "$log")
    if [[ $last =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed,\ ([0-9]+)\ skipped$ ]]; then
        passed=$((passed + BASH_REMATCH[1])) failed=$((failed + BASH_REMATCH[2])) skipped=$((skipped + BASH_REMATCH[3]))
    else
        say "$1 ended without a summary"
        failed=$((failed + 1))
    fi
}

# A kernel with a seeded bug: the sanitizer's program must end with the sanitizer's report.
expect_report() {
    local sanitizer=$1 bug=$2 text=$3
    if LLSPEC_EMULATED_SEED=1 "$out/native/llspec-cuda-tests-$sanitizer" --filter "bug.$bug" --orders 1 >"$out/seeded.log" 2>&1 || ! grep -q "$text" "$out/seeded.log"; then
        say "the $sanitizer sanitizer let bug.$bug pass:"
        tail -n 5 "$out/seeded.log" >&2
        failed=$((failed + 1))
    else
        passed=$((passed + 1))
    fi
}

# Compiles all kernels, then runs every kernel's tests in three random orders of threads with poison on, then once under each sanitizer, and sees that the
# sanitizers catch seeded bugs. The last line counts.
cuda_check() {
    local passed=0 failed=0 skipped=0
    # In a shell of its own, so that a machine that can't get a compiler still runs the tests.
    (native) || failed=$((failed + 1))
    build_native llspec-cuda-tests llspec-cuda-tests-address llspec-cuda-tests-thread
    export ASAN_OPTIONS=detect_leaks=0:detect_stack_use_after_return=0 TSAN_OPTIONS=report_signal_unsafe=0:halt_on_error=1
    count_kernel_tests "$out/native/llspec-cuda-tests" --orders 3
    count_kernel_tests "$out/native/llspec-cuda-tests-address" --orders 1 --without seeded
    count_kernel_tests "$out/native/llspec-cuda-tests-thread" --orders 1 --without seeded
    expect_report address out_of_bounds AddressSanitizer
    expect_report address shared_out_of_bounds AddressSanitizer
    expect_report thread missing_barrier 'data race'
    expect_report thread buffer_reuse 'data race'
    printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
    ((failed == 0))
}

# Test classes of tests/Engine.Tests that cover an operation on the CPU backend, one for each width; nothing where the operation exists on a GPU alone.
cpu_tests_of() {
    local kind
    case $1 in
        attention | group_attention) kind=AttentionTests ;;
        matmul) kind=MatMulTests ;;
        top) kind=SelectionTests ;;
        keep_rows | gather_layers) kind=CacheTests ;;
        embed | rms_norm | rope_append | swiglu | copy_rows | group_mean) kind=ElementTests ;;
        tree) printf '%s\n' '*.TreeGrowerTests' && return ;;
        sample) printf '%s\n' '*.TokenSamplerTests' && return ;;
        accept) printf '%s\n' '*.VerificationTests' && return ;;
        *) return ;;
    esac
    printf '%s\n' "*.CpuScalar$kind" "*.Cpu128$kind" "*.Cpu256$kind" "*.Cpu512$kind"
}

test_kernel() {
    [[ $# -ge 1 ]] || die "test-kernel: give the operation's name, e.g. attention" 2
    local name=$1 backend=emulated seed=1 classes=()
    shift
    while (($# > 0)); do
        [[ $# -ge 2 ]] || die "test-kernel: $1 needs a value" 2
        case $1 in
            --backend) backend=$2 ;;
            --seed) seed=$2 ;;
            *) die "test-kernel: unknown option '$1', expected --backend or --seed" 2 ;;
        esac
        shift 2
    done
    [[ $seed =~ ^[0-9]+$ ]] || die "test-kernel: --seed: found '$seed', expected a number" 2
    case $backend in
        emulated)
            build_native llspec-cuda-tests
            "$out/native/llspec-cuda-tests" --filter "$name" --seed "$seed"
            ;;
        cuda)
            native
            local module=$out/native/llspec_kernels.ptx
            [[ ! -f $out/native/llspec_kernels.fatbin ]] || module=$out/native/llspec_kernels.fatbin
            "$out/native/llspec-cuda-tests" --filter "$name" --seed "$seed" --driver libcuda.so.1 --module "$module"
            ;;
        cpu)
            mapfile -t classes < <(cpu_tests_of "${name%%.*}")
            ((${#classes[@]} > 0)) || die "test-kernel: there is no operation '$name' on the CPU backend; docs/cuda.md lists the operations" 2
            find_dotnet
            LLSPEC_SEED=$seed run_dotnet test --project tests/Engine.Tests -c Release --no-progress --no-ansi --filter-class "${classes[@]}"
            ;;
        *) die "test-kernel: --backend: found '$backend', expected cpu, emulated or cuda" 2 ;;
    esac
}

# What a machine with a GPU needs: tests and benchmark with their runtime, the kernels' sources, one script. out/llspec-gpu.tar.xz.
gpu_package() {
    local folder=$out/gpu-package project
    find_dotnet
    # First, so that the projects carry the PTX, which serves where the GPU machine has no nvcc.
    native
    rm -rf "$folder" "$out/gpu-obj"
    mkdir -p "$folder/native" "$folder/kernel-tests"
    for project in tests/Engine.Tests:tests tests/Interop.Tests:interop bench/Cuda:bench; do
        # Partial: what is found by reflection stays. Full trimming would leave no test to run. Its own obj folder, as trimming changes what the ordinary build made.
        run_dotnet publish "${project%%:*}" -c Release -r linux-x64 --self-contained -p:PublishTrimmed=true -p:TrimMode=partial -p:SuppressTrimAnalysisWarnings=true \
            -p:TreatWarningsAsErrors=false -p:RunAnalyzers=false -p:DebugType=none -p:InvariantGlobalization=true --artifacts-path "$out/gpu-obj" -o "$folder/${project##*:}"
    done
    cp -r "$root/native/cuda" "$root/native/cpu" "$folder/native/"
    cp "$root/CMakeLists.txt" "$root/LICENSE" "$folder/"
    cp "$root"/native/gpu-package/* "$folder/"
    cp "$out/native/llspec-cuda-tests" "$folder/kernel-tests/"
    cp "$out"/native/llspec_kernels.* "$folder/kernel-tests/"
    git -C "$root" rev-parse HEAD >"$folder/commit" 2>/dev/null || printf 'unknown\n' >"$folder/commit"
    # The runtime is in there three times; a window as large as the whole finds that out.
    tar --sort=name --owner=0 --group=0 --mtime=@0 -C "$out" -c gpu-package | xz -6 --lzma2=preset=6,dict=192MiB -T1 >"$out/llspec-gpu.tar.xz"
    local bytes
    bytes=$(stat -c %s "$out/llspec-gpu.tar.xz")
    say "out/llspec-gpu.tar.xz: $((bytes / 1000)) KB; on the GPU machine: tar xf llspec-gpu.tar.xz && bash gpu-package/run.sh"
    ((bytes < 25000000)) || die "the package is larger than 25 MB"
}

# Builds the CLI alone, quietly (what went wrong is shown), and runs it.
llspec() {
    local log
    mkdir -p "$out"
    log=$out/build.log
    say "building (log: out/build.log)"
    find_dotnet
    publish >"$log" 2>&1 || {
        cat "$log" >&2
        die "the build failed"
    }
    exec "$out/llspec" "$@"
}

verb=${1:-help}
shift || true
case $verb in
    build | format | golden | bench | pack | native | train-package) "$verb" "$@" ;;
    gpu-package) gpu_package ;;
    make-embedded) exec "$root/models/make-embedded.sh" "$@" ;;
    test) run_tests "$@" ;;
    cuda-check) cuda_check ;;
    test-kernel) test_kernel "$@" ;;
    demo | doctor) llspec "$verb" "$@" ;;
    help | -h | --help) help ;;
    *)
        say "unknown verb '$verb'"
        help >&2
        exit 2
        ;;
esac
