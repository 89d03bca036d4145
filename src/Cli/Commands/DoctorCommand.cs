using System.CommandLine;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;
using System.Runtime.Intrinsics.X86;
using LowLevelSpec.Cli.Options;
using LowLevelSpec.Cli.Output;
using LowLevelSpec.Engine;
using LowLevelSpec.Engine.Backends.Cpu;
using LowLevelSpec.Engine.Backends.Cuda;
using LowLevelSpec.Engine.Backends.Ilgpu;
using Spectre.Console;

namespace LowLevelSpec.Cli.Commands;

/// <summary><c>llspec doctor</c>: what this machine offers, and what to do about what it doesn't.</summary>
internal sealed class DoctorCommand : Command
{
    /// <summary>Models listed; more would bury the rest.</summary>
    private const int MaxModels = 20;

    private readonly CliConsole _console;
    private readonly JsonArguments _json = new();

    public DoctorCommand(CliConsole console)
        : base("doctor", "Show what was found (processor, memory, GPU, models) and what to do about what was not.")
    {
        _console = console;
        _json.AddTo(this);
        SetAction(Run);
    }

    private int Run(ParseResult result)
    {
        using JsonTarget? file = JsonTarget.Open(_json.File(result), []);
        DoctorReport report = Examine();
        file?.Write(Json.Indented(report));
        if (_json.ToStandardOutput(result))
        {
            _console.Out.Write(Json.Indented(report));
        }
        else
        {
            Print(report);
        }

        return ExitCode.Well;
    }

    private static DoctorReport Examine()
    {
        CudaReport cuda = CudaDevices.Examine();
        int bits = (int)WidestSimd();
        List<string> models = FindModels(), advice = [];
        if (cuda.HasDriver && cuda.Problem is not null)
        {
            advice.Add($"the GPU can't be used: {cuda.Problem}");
        }
        else if (!cuda.HasDriver)
        {
            advice.Add("no CUDA driver: nothing to do; the CPU backend runs");
        }

        if (bits == (int)SimdWidth.Scalar)
        {
            advice.Add("no vector instructions found: the engine runs, slowly; use a processor with AVX2, AVX-512 or NEON");
        }

        if (models.Count == 0)
        {
            advice.Add("no model found: put a Hugging Face folder or a .gguf file into models/, or write a tiny one with 'llspec make-tiny --out models/tiny'");
        }

        return new DoctorReport
        {
            System = $"{RuntimeInformation.OSDescription}, {RuntimeInformation.OSArchitecture}",
            Runtime = RuntimeInformation.FrameworkDescription,
            Processor = Machine.ProcessorName(),
            CpuFeatures = new Dictionary<string, bool>(StringComparer.Ordinal)
            {
                ["avx2"] = Avx2.IsSupported,
                ["fma"] = Fma.IsSupported,
                ["avx512f"] = Avx512F.IsSupported,
                ["vector512"] = Vector512.IsHardwareAccelerated,
                ["neon"] = AdvSimd.IsSupported,
            },
            Cores = Environment.ProcessorCount,
            Threads = Environment.ProcessorCount,
            SimdBits = bits,
            NativeKernels = CpuBackend.NativeKernelsNote,
            MemoryBytes = GC.GetGCMemoryInfo().TotalAvailableMemoryBytes,
            CudaDriver = cuda.HasDriver,
            Cuda = cuda,
            DrafterDevices = IlgpuDevices.List(),
            Models = models,
            Advice = advice,
        };
    }

    private static SimdWidth WidestSimd() =>
        Vector512.IsHardwareAccelerated ? SimdWidth.Bits512
        : Vector256.IsHardwareAccelerated ? SimdWidth.Bits256
        : Vector128.IsHardwareAccelerated ? SimdWidth.Bits128
        : SimdWidth.Scalar;

    private static List<string> FindModels()
    {
        List<string> roots = ["models"];
        if (SharedFolder.Find() is string shared)
        {
            roots.Add(Path.Combine(shared, "models"));
        }

        EnumerationOptions two = new() { RecurseSubdirectories = true, MaxRecursionDepth = 2, IgnoreInaccessible = true };
        return
        [
            .. roots.Where(Directory.Exists)
                .SelectMany(root => Directory.EnumerateFiles(root, "*", two))
                .Where(static path => Path.GetExtension(path) is ".gguf" or ".safetensors")
                .Select(static path => Path.GetExtension(path) == ".gguf" ? path : Path.GetDirectoryName(path)!)
                .Distinct()
                .Order(StringComparer.Ordinal)
                .Take(MaxModels),
        ];
    }

    private void Print(DoctorReport report)
    {
        Table table = _console.CreateTable().AddColumns("what", "found");
        void Row(string name, string value) => table.AddRow(Markup.Escape(name), Markup.Escape(value));
        Row("system", report.System);
        Row("runtime", report.Runtime);
        Row("processor", report.Processor ?? "unknown");
        Row("instructions", string.Join(", ", report.CpuFeatures.Select(static f => $"{f.Key} {(f.Value ? "yes" : "no")}")));
        Row("cores", $"{report.Cores}, {report.Threads} threads by default");
        Row("vectors", report.SimdBits == (int)SimdWidth.Scalar ? "none" : $"{report.SimdBits} bits");
        Row("native kernels", report.NativeKernels);
        Row("memory", $"{report.MemoryBytes / (double)(1 << 30):0.0} GiB");
        Row("gpu", report.Cuda.Devices.Count == 0 ? "none" : string.Join('\n', report.Cuda.Devices));
        Row("cuda", report.Cuda.HasDriver ? $"driver for CUDA {report.Cuda.Version ?? "unknown"}{(report.Cuda.Problem is null ? "; use --device cuda" : "")}" : "no driver");
        Row("gpu kernels", report.Cuda.Kernels.Count == 0 ? "none in this build: ./build.sh native makes them" : string.Join(", ", report.Cuda.Kernels));
        Row("drafter devices", string.Join('\n', report.DrafterDevices.Select(static d => d.IsGpu
            ? $"ilgpu:{d.Index}  {d.Name} ({d.Kind}, {d.MemoryBytes / (double)(1 << 30):0.0} GiB)"
            : $"ilgpu:{d.Index}  {d.Name} (emulation, slow: for tests)")));
        Row("models", report.Models.Count == 0 ? "none" : string.Join('\n', report.Models));
        _console.Write(table);
        foreach (string advice in report.Advice)
        {
            _console.Out.WriteLine($"- {advice}");
        }
    }
}
