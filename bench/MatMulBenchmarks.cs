using System.Runtime.InteropServices;
using BenchmarkDotNet.Attributes;
using LowLevelSpec.Engine;
using LowLevelSpec.Engine.Backends;
using LowLevelSpec.Engine.Backends.Cpu;
using LowLevelSpec.Models;

namespace LowLevelSpec.Bench;

/// <summary>Weight times 1..64 rows at the size of a small LM head, which is too large for the cache: one row shows the memory limit, many show arithmetic.</summary>
public unsafe class MatMulBenchmarks : IDeclaresCost
{
    private const int Inputs = 768, Outputs = 49152;

    private void* _data;
    private CpuBackend? _backend;
    private TensorBuffer? _x, _y;
    private Weight? _weight;

    [Params(TensorType.F32, TensorType.BF16, TensorType.F16, TensorType.Q8_0, TensorType.Q4_0, TensorType.Q4_1, TensorType.Q4_K, TensorType.Q5_K, TensorType.Q6_K)]
    public TensorType Type { get; set; }

    [Params(1, 2, 4, 8, 16, 32, 64, 512)]
    public int Rows { get; set; }

    [Params(1, 2)]
    public int Threads { get; set; }

    [Params(Arithmetic.Auto, Arithmetic.Exact)]
    public Arithmetic Arithmetic { get; set; }

    /// <inheritdoc/>
    public bool IsInteger => Arithmetic == Arithmetic.Auto && Type is not (TensorType.F32 or TensorType.BF16 or TensorType.F16);

    /// <inheritdoc/>
    public OperationCost Cost => OperationCosts.MatMul(Type, Rows, Inputs, Outputs);

    [GlobalSetup]
    public void Setup()
    {
        Random random = new(1);
        float[] values = [.. Enumerable.Range(0, Inputs * 64).Select(_ => (float)(random.NextDouble() - 0.5))];
        byte[] rows = Quantizer.Quantize(Type, values);
        _data = NativeMemory.Alloc((nuint)Type.Bytes((long)Inputs * Outputs));
        for (int i = 0; i < Outputs / 64; i++)
        {
            rows.CopyTo(new Span<byte>((byte*)_data + ((long)i * rows.Length), rows.Length));
        }

        _backend = new CpuBackend(Threads, SimdWidth.Auto, Arithmetic);
        _weight = _backend.LoadMatrix(new TensorView("weight", Type, [Outputs, Inputs], (nint)_data, "benchmark"));
        _x = _backend.Allocate(Rows * Inputs, "input");
        _y = _backend.Allocate((long)Rows * Outputs, "output");
        _backend.Write([.. Enumerable.Range(0, Rows * Inputs).Select(_ => (float)(random.NextDouble() - 0.5))], new Matrix(_x, 0, Rows, Inputs, Inputs));
    }

    [GlobalCleanup]
    public void Cleanup()
    {
        _x?.Dispose();
        _y?.Dispose();
        _backend?.Dispose();
        NativeMemory.Free(_data);
    }

    [Benchmark]
    public void MatMul() => _backend!.MatMul(_weight!, new Matrix(_x!, 0, Rows, Inputs, Inputs), new Matrix(_y!, 0, Rows, Outputs, Outputs));
}
