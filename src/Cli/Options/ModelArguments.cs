using System.CommandLine;
using LowLevelSpec.Engine;
using LowLevelSpec.Models;

namespace LowLevelSpec.Cli.Options;

/// <summary>Which target, and how it is run.</summary>
internal sealed class ModelArguments
{
    private static readonly Dictionary<string, SimdWidth> Widths = new(StringComparer.OrdinalIgnoreCase)
    {
        ["auto"] = SimdWidth.Auto,
        ["scalar"] = SimdWidth.Scalar,
        ["128"] = SimdWidth.Bits128,
        ["256"] = SimdWidth.Bits256,
        ["512"] = SimdWidth.Bits512,
    };

    private readonly Option<string?> _model = new("--model") { Description = "Target: a Hugging Face folder, a .safetensors or a .gguf file; the embedded one by default.", HelpName = "PATH" };
    private readonly NumberOption<int> _threads = new("--threads", "Threads, at most 256; 0 = one per core the process may use (the default).", low: 0);
    private readonly Option<bool> _pin = new("--pin-threads") { Description = "Keeps each worker thread on a core of its own; for machines that do nothing else." };
    private readonly Option<string?> _width = new("--width") { Description = "Vector width: auto (the default), scalar, 128, 256 or 512; all give the same bits.", HelpName = "W" };
    private readonly Option<string?> _arithmetic = new("--arithmetic")
    {
        Description = "Weights times inputs: auto (the default; quantised weights meet inputs rounded to 8 bits, in integers; F16 and BF16 a copy in their own order) or exact (f32, weights where the file is mapped). Speculation changes no text in either.",
        HelpName = "A",
    };

    private readonly KvTypeOption _kvType = new();
    private readonly Option<string?> _device = new("--device") { Description = "What runs the model: cpu (the default), cuda, cuda:N, or emulated (the GPU's kernels on the CPU, for tests).", HelpName = "D" };
    private readonly Option<string?> _prefill = new("--prefill")
    {
        Description = "What multiplies a prompt's rows on a GPU: kernels (the default), cublas, or auto (cuBLAS where it is installed). Speculation changes no text in any.",
        HelpName = "P",
    };

    private readonly NumberOption<int> _context = new("--context-length", "Longest sequence in tokens; 0 = what the model was made for (the default).", low: 0);

    private readonly Option<bool> _noCache = new("--no-cache") { Description = "Measure what steps cost anew, and keep no measurement between runs (so does LLSPEC_NO_CACHE=1)." };

    /// <summary>The options, in the order of the help.</summary>
    public IEnumerable<Option> All => [_model, _device, _threads, _pin, _width, _arithmetic, _kvType, _prefill, _context, _noCache];

    /// <summary>Whether a target is named.</summary>
    public bool IsGiven(ParseResult result) => result.GetValue(_model) is not null;

    /// <summary>The path as given, or the embedded target's.</summary>
    public string Path(ParseResult result) => result.GetValue(_model) ?? EmbeddedModels.Find().Target;

    /// <summary>Reads how the model is to be run.</summary>
    public EngineOptions Engine(ParseResult result) => new()
    {
        Threads = _threads.Read(result) ?? 0,
        PinThreads = result.GetValue(_pin),
        Width = Width(result.GetValue(_width) ?? "auto"),
        Arithmetic = Arithmetic(result.GetValue(_arithmetic) ?? "auto"),
        KvType = _kvType.Read(result),
        Prefill = Prefill(result.GetValue(_prefill) ?? "kernels"),
        Device = result.GetValue(_device) ?? "cpu",
        ContextLength = _context.Read(result) ?? 0,
        CacheFolder = result.GetValue(_noCache) ? "" : null,
    };

    /// <summary>Options that are given and that a client pack, which drafts on the CPU in f32, has no use for.</summary>
    public IReadOnlyList<string> UnusedByPacks(ParseResult result) =>
        [.. ((Option[])[_device, _pin, _arithmetic, _kvType, _prefill]).Where(option => result.GetResult(option) is { Implicit: false }).Select(static option => option.Name)];

    /// <summary>Opens the model.</summary>
    public LanguageModel Open(ParseResult result) => LanguageModel.Open(Filled.In("--model", Path(result)), Engine(result));

    private static Arithmetic Arithmetic(string text) => text.ToUpperInvariant() switch
    {
        "AUTO" => LowLevelSpec.Engine.Arithmetic.Auto,
        "EXACT" => LowLevelSpec.Engine.Arithmetic.Exact,
        _ => throw new InputException($"--arithmetic: found '{text}', expected auto or exact"),
    };

    private static PrefillProducts Prefill(string text) => text.ToUpperInvariant() switch
    {
        "KERNELS" => PrefillProducts.Kernels,
        "CUBLAS" => PrefillProducts.Cublas,
        "AUTO" => PrefillProducts.Auto,
        _ => throw new InputException($"--prefill: found '{text}', expected kernels, cublas or auto"),
    };

    private static SimdWidth Width(string text) => Widths.TryGetValue(text, out SimdWidth width)
        ? width
        : throw new InputException($"--width: found '{text}', expected auto, scalar, 128, 256 or 512");
}

/// <summary>Refuses empty values, which a shell hands over for an unset variable.</summary>
internal static class Filled
{
    public static string In(string option, string value) => value.Length > 0 ? value : throw new InputException($"{option}: found an empty value, expected a path");
}

/// <summary><c>--kv-type</c>: how the target's keys and values are stored.</summary>
internal sealed class KvTypeOption : Option<string?>
{
    public KvTypeOption()
        : base("--kv-type")
    {
        Description = "The target's keys and values on the CPU: f32 (the default), or f16 or bf16 (rounded, half the memory). Speculation changes no text in any. A GPU stores bf16.";
        HelpName = "T";
    }

    /// <summary>The type, f32 where none is given.</summary>
    /// <exception cref="InputException">Another word.</exception>
    public KvType Read(ParseResult result) => (result.GetValue(this) ?? "f32").ToUpperInvariant() switch
    {
        "F32" => KvType.F32,
        "F16" => KvType.F16,
        "BF16" => KvType.BF16,
        _ => throw new InputException($"--kv-type: found '{result.GetValue(this)}', expected f32, f16 or bf16"),
    };
}
