using LowLevelSpec.Engine.Drafting;
using LowLevelSpec.Engine.Tiny;
using LowLevelSpec.Models;

namespace LowLevelSpec.Engine.Tests;

/// <summary>Generated models that the tests share: the tiny pair with its drafters, and a ten-token target small enough to enumerate.</summary>
public sealed class TinyModels : IDisposable
{
    private static readonly Lazy<TinyModels> Shared = new(() => new TinyModels());

    private TinyModels()
    {
        Folder = Directory.CreateTempSubdirectory("llspec-tests-").FullName;
        AppDomain.CurrentDomain.ProcessExit += (_, _) => Dispose();
        TinyPair.Write(Path.Combine(Folder, "pair"), 1);
        WriteEnumerable(Path.Combine(Folder, "enumerable"));
        _exact = new(() => LanguageModel.Open(Path.Combine(Folder, "pair", "target"), new EngineOptions { Threads = 2, Arithmetic = Arithmetic.Exact, CacheFolder = Path.Combine(Folder, "cache") }));
        Model = LanguageModel.Open(Path.Combine(Folder, "pair", "target"), new EngineOptions { Threads = 2, CacheFolder = Path.Combine(Folder, "cache") });
    }

    /// <summary>The target in exact arithmetic, whose drafters keep their weights as they are in the file.</summary>
    private readonly Lazy<LanguageModel> _exact;

    public static TinyModels Instance => Shared.Value;

    internal static readonly TinySizes EnumerableSizes = new(10, 32, 2, 4, 2, 48, 64);

    public string Folder { get; }

    /// <summary>The tiny pair's target, two threads.</summary>
    public LanguageModel Model { get; }

    /// <summary>The same in exact arithmetic.</summary>
    public LanguageModel ExactModel => _exact.Value;

    public string Path_(string name) => Path.Combine(Folder, "pair", name);

    /// <summary>Names that <see cref="Open"/> takes: every kind of drafter, good and bad ones.</summary>
    public static readonly string[] Drafters = ["moa", "moa:1", "moa:3", "moa-random", "eagle", "independent", "lookup", "none"];

    /// <summary>Opens a drafter of the pair: a folder name, optionally with ":N" for target layer inference.</summary>
    public Drafter Open(string name, LanguageModel? model = null, string pair = "pair")
    {
        string[] parts = name.Split(':');
        string path = parts[0] is "lookup" or "none" ? parts[0] : Path.Combine(Folder, pair, parts[0]);
        return (model ?? Model).OpenDrafter(path, new DrafterOptions { TargetLayerInference = parts.Length > 1 ? int.Parse(parts[1]) : null });
    }

    public void Dispose()
    {
        Model?.Dispose();
        if (_exact.IsValueCreated)
        {
            _exact.Value.Dispose();
        }

        if (Directory.Exists(Folder))
        {
            Directory.Delete(Folder, recursive: true);
        }
    }

    private static void WriteEnumerable(string folder)
    {
        TinyRandom random = new(7);
        TinySizes s = EnumerableSizes;
        float[] embedding = random.Normal(s.Vocabulary * s.Hidden, 1), head = random.Normal(s.Vocabulary * s.Hidden, 1.3 / Math.Sqrt(s.Hidden));
        TinyWriter.Target(Path.Combine(folder, "target"), s, embedding, head, 0.8, random, TensorType.F32, endToken: null);
        TinyWriter.Moa(Path.Combine(folder, "moa"), s, 0.2, random, TensorType.F32);
        TinyWriter.Moa(Path.Combine(folder, "moa-random"), s, 30, random, TensorType.F32);
        TinyWriter.Eagle(Path.Combine(folder, "eagle"), s, 0.2, random, TensorType.F32);
    }
}
