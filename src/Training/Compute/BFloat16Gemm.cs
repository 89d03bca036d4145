using System.Numerics;
using System.Runtime.Intrinsics;
using LowLevelSpec.Interop.Cpu;

namespace LowLevelSpec.Training.Compute;

/// <summary>The native product of operands rounded to bf16, and the rounding alone for processors without it.</summary>
internal static unsafe class BFloat16Gemm
{
    /// <summary>Columns of a tile: few enough for two threads to share the smallest products of a drafter.</summary>
    private const int TileColumns = 192;

    private static readonly Lazy<NativeCpu?> Found = new(Find);

    [ThreadStatic]
    private static uint[]? t_scratch;

    /// <summary>The library, where this processor runs its product and it computes what C# does; else null.</summary>
    public static NativeCpu? Library => Found.Value;

    /// <summary>c [rows, columns] = a b, or added to c; <paramref name="job"/> as a whole, which this cuts into tiles for all threads.</summary>
    public static void Multiply(NativeCpu library, Bf16GemmJob job)
    {
        int rowTiles = (job.Rows + Bf16GemmJob.MaxRows - 1) / Bf16GemmJob.MaxRows, strips = (job.Columns + TileColumns - 1) / TileColumns;
        Work.For(rowTiles * strips, (long)job.Rows * job.Columns * job.Depth, tile =>
        {
            int row = tile % rowTiles * Bf16GemmJob.MaxRows, column = tile / rowTiles * TileColumns;
            Bf16GemmJob part = job;
            part.A += row * job.ARow;
            part.B += column * job.BColumn;
            part.C += (row * job.CRow) + column;
            part.Rows = Math.Min(Bf16GemmJob.MaxRows, job.Rows - row);
            part.Columns = Math.Min(TileColumns, job.Columns - column);
            t_scratch ??= GC.AllocateUninitializedArray<uint>(Bf16GemmJob.ScratchWords + 16, pinned: true);
            fixed (uint* scratch = t_scratch)
            {
                library.Bf16Gemm(&part, (uint*)(((nint)scratch + 63) & ~(nint)63));
            }
        });
    }

    /// <summary>to[i] = from[i] in bf16, rounded to nearest even.</summary>
    public static void Round<T>(Tensor<T> from, Tensor<T> to) where T : unmanaged, IBinaryFloatingPointIeee754<T>
    {
        float* source = (float*)from.Data, target = (float*)to.Data;
        Work.Blocks(from.Rows, 64, from.Length, (first, rows) =>
        {
            long i = (long)first * from.Columns, end = i + ((long)rows * from.Columns);
            for (; i <= end - Vector256<float>.Count; i += Vector256<float>.Count)
            {
                Round(Vector256.Load(source + i)).Store(target + i);
            }

            for (; i < end; i++)
            {
                target[i] = Round(Vector256.CreateScalar(source[i])).ToScalar();
            }
        });
    }

    /// <summary>Nearest bf16, ties to even; NaN stays NaN.</summary>
    private static Vector256<float> Round(Vector256<float> value)
    {
        Vector256<uint> bits = value.AsUInt32(), odd = (bits >>> 16) & Vector256<uint>.One;
        Vector256<float> rounded = ((bits + Vector256.Create(0x7fffu) + odd) & Vector256.Create(0xffff0000u)).AsSingle();
        return Vector256.ConditionalSelect(Vector256.Equals(value, value), rounded, value);
    }

    private static NativeCpu? Find()
    {
        NativeCpu? library = NativeCpu.TryFind(out _);
        return library is { HasBf16: true } && Agrees(library) ? library : null;
    }

    /// <summary>Whether the library multiplies small whole numbers, which bf16 and every order of sums keep exact, in all layouts.</summary>
    private static bool Agrees(NativeCpu library)
    {
        const int rows = 11, columns = 37, depth = 45;
        float[] a = [.. Enumerable.Range(0, rows * depth).Select(static i => (float)((i * 7 % 31) - 15))];
        float[] b = [.. Enumerable.Range(0, depth * columns).Select(static i => (float)((i * 5 % 29) - 14))];
        float[] c = new float[rows * columns];
        foreach (bool transposedA in (bool[])[false, true])
        {
            foreach (bool transposedB in (bool[])[false, true])
            {
                fixed (float* x = a, y = b, z = c)
                {
                    Multiply(library, new Bf16GemmJob
                    {
                        A = x,
                        B = y,
                        C = z,
                        ARow = transposedA ? 1 : depth,
                        ADepth = transposedA ? rows : 1,
                        BDepth = transposedB ? 1 : columns,
                        BColumn = transposedB ? depth : 1,
                        CRow = columns,
                        Rows = rows,
                        Columns = columns,
                        Depth = depth,
                    });
                }

                for (int i = 0; i < rows * columns; i++)
                {
                    (int row, int column) = Math.DivRem(i, columns);
                    float sum = 0;
                    for (int k = 0; k < depth; k++)
                    {
                        sum += a[transposedA ? (k * rows) + row : (row * depth) + k] * b[transposedB ? (column * depth) + k : (k * columns) + column];
                    }

                    if (c[i] != sum)
                    {
                        return false;
                    }
                }
            }
        }

        return true;
    }
}
