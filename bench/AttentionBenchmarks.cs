using BenchmarkDotNet.Attributes;
using LowLevelSpec.Engine;
using LowLevelSpec.Engine.Backends;
using LowLevelSpec.Engine.Backends.Cpu;

namespace LowLevelSpec.Bench;

/// <summary>Attention of one layer of SmolLM2-135M (9 heads over 3 kv heads of 64) over a prefix: one decoded row, a tree, a prefill chunk.</summary>
public class AttentionBenchmarks : IDeclaresCost
{
    private const int Heads = 9, KvHeads = 3, HeadSize = 64;

    private CpuBackend? _backend;
    private KvCache? _cache;
    private TensorBuffer? _q, _y;
    private PassBatch? _batch;

    [Params(1, 25, 128)]
    public int Rows { get; set; }

    [Params(128, 512, 2048)]
    public int Prefix { get; set; }

    [Params(KvType.F32, KvType.F16, KvType.BF16)]
    public KvType Type { get; set; }

    /// <inheritdoc/>
    public OperationCost Cost => OperationCosts.Attention((long)Rows * (Prefix + 1), Heads, KvHeads, HeadSize, Type == KvType.F32 ? 4 : 2);

    [GlobalSetup]
    public void Setup()
    {
        _backend = new CpuBackend(0, SimdWidth.Auto);
        _cache = _backend.AllocateKvCache(1, KvHeads, HeadSize, Prefix + Rows, Type);
        _q = _backend.Allocate((long)Rows * Heads * HeadSize, "queries");
        _y = _backend.Allocate((long)Rows * Heads * HeadSize, "output");
        _batch = new PassBatch(Rows, Rows);
        for (int i = 0; i < Rows; i++)
        {
            _batch.AddTree(_cache, new TokenId(0), new Position(Prefix), new CacheRow(Prefix + i), Prefix, [Prefix + i]);
        }
    }

    [GlobalCleanup]
    public void Cleanup()
    {
        _q?.Dispose();
        _y?.Dispose();
        _cache?.Dispose();
        _backend?.Dispose();
    }

    [Benchmark]
    public void Attention()
    {
        Matrix q = new(_q!, 0, Rows, Heads * HeadSize, Heads * HeadSize), y = q with { Buffer = _y! };
        _backend!.Attention(_batch!, 0, q, y, Heads, 0.125f);
    }
}
