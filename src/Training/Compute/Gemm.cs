using System.Numerics;
using System.Runtime.Intrinsics;
using LowLevelSpec.Interop.Cpu;

namespace LowLevelSpec.Training.Compute;

/// <summary>
/// Dense matrix products C = op(A) op(B), row-major, over all threads. C is cut into tiles; a tile's thread packs its strip of B into
/// panels that stay in its caches and runs a kernel of few rows over them. Sums over k run in blocks of one depth, <see cref="BlockK"/> at most,
/// in ascending order whatever the tiles and threads, so results are reproducible.
/// </summary>
internal static unsafe class Gemm
{
    /// <summary>Most depth of one packed panel: 256 x 32 floats with 512-bit vectors, 320 x 16 with a kernel's rows of A beside them otherwise, fill a first-level cache.</summary>
    private static readonly int BlockK = Vector512.IsHardwareAccelerated ? 256 : 320;

    /// <summary>Panels of a tile.</summary>
    private const int StripPanels = 6;

    /// <summary>Rows of C of a tile: whole groups of six and of eight; 240 x 256 floats of A stay in a second-level cache.</summary>
    private const int TileRows = 240;

    private static long s_operations;

    [ThreadStatic]
    private static Products t_products;

    /// <summary>Multiplications and additions of all products so far, over all threads.</summary>
    public static long Operations => Interlocked.Read(ref s_operations);

    /// <summary>Has this thread's products of floats round their operands, until the scope ends.</summary>
    public static Scope In(Products products)
    {
        Scope scope = new(t_products);
        t_products = products;
        return scope;
    }

    /// <summary>c [M, N] = a [M, K] b [K, N], or added to c.</summary>
    public static void NN<T>(Tensor<T> a, Tensor<T> b, Tensor<T> c, bool accumulate = false) where T : unmanaged, IBinaryFloatingPointIeee754<T>
    {
        b.Expect(a.Columns, c.Columns, "b");
        c.Expect(a.Rows, b.Columns, "c");
        Multiply(new Operand<T>(a, a.Columns, 1), new Operand<T>(b, b.Columns, 1), c, a.Columns, accumulate);
    }

    /// <summary>c [M, N] = a [M, K] b^T, b [N, K], or added to c.</summary>
    public static void NT<T>(Tensor<T> a, Tensor<T> b, Tensor<T> c, bool accumulate = false) where T : unmanaged, IBinaryFloatingPointIeee754<T>
    {
        b.Expect(c.Columns, a.Columns, "b");
        c.Expect(a.Rows, b.Rows, "c");
        Multiply(new Operand<T>(a, a.Columns, 1), new Operand<T>(b, 1, b.Columns), c, a.Columns, accumulate);
    }

    /// <summary>c [M, N] = a^T b, a [K, M], b [K, N], or added to c.</summary>
    public static void TN<T>(Tensor<T> a, Tensor<T> b, Tensor<T> c, bool accumulate = false) where T : unmanaged, IBinaryFloatingPointIeee754<T>
    {
        b.Expect(a.Rows, c.Columns, "b");
        c.Expect(a.Columns, b.Columns, "c");
        Multiply(new Operand<T>(a, 1, a.Columns), new Operand<T>(b, b.Columns, 1), c, a.Rows, accumulate);
    }

    private static void Multiply<T>(Operand<T> a, Operand<T> b, Tensor<T> c, int depth, bool accumulate) where T : unmanaged, IBinaryFloatingPointIeee754<T>
    {
        int strip = StripPanels * GemmKernels.PanelWidth<T>(), rowTiles = (c.Rows + TileRows - 1) / TileRows, strips = (c.Columns + strip - 1) / strip;
        if (depth == 0 && !accumulate)
        {
            c.Clear();
        }

        Interlocked.Add(ref s_operations, 2L * c.Rows * c.Columns * depth);
        if (t_products == Products.BFloat16 && typeof(T) == typeof(float) && depth > 0)
        {
            MultiplyRounded(a, b, c, depth, accumulate);
            return;
        }

        // The smaller operand is the one gone through again and again: it stays in a cache.
        bool stripsFirst = c.Rows > c.Columns;
        Work.For(rowTiles * strips, (long)c.Rows * c.Columns * depth, tile =>
        {
            int row = (stripsFirst ? tile / strips : tile % rowTiles) * TileRows, column = (stripsFirst ? tile % strips : tile / rowTiles) * strip;
            Tile(a, b, c, row, Math.Min(TileRows, c.Rows - row), column, Math.Min(strip, c.Columns - column), depth, accumulate);
        });
    }

    private static void MultiplyRounded<T>(Operand<T> a, Operand<T> b, Tensor<T> c, int depth, bool accumulate) where T : unmanaged, IBinaryFloatingPointIeee754<T>
    {
        if (BFloat16Gemm.Library is { } library)
        {
            BFloat16Gemm.Multiply(library, new Bf16GemmJob
            {
                A = (float*)a.At(0, 0),
                B = (float*)b.At(0, 0),
                C = (float*)c.Data,
                ARow = a.RowStride,
                ADepth = a.ColumnStride,
                BDepth = b.RowStride,
                BColumn = b.ColumnStride,
                CRow = c.Columns,
                Rows = c.Rows,
                Columns = c.Columns,
                Depth = depth,
                Add = accumulate ? 1 : 0,
            });
            return;
        }

        using (In(Products.Single))
        {
            Multiply(a.Rounded(), b.Rounded(), c, depth, accumulate);
            Interlocked.Add(ref s_operations, -2L * c.Rows * c.Columns * depth);
        }
    }

    private static void Tile<T>(Operand<T> a, Operand<T> b, Tensor<T> c, int row, int rows, int column, int columns, int depth, bool accumulate)
        where T : unmanaged, IBinaryFloatingPointIeee754<T>
    {
        int width = GemmKernels.PanelWidth<T>(), height = GemmKernels.Rows;
        T* packedB = PackBuffer<T>.B((StripPanels * width) * BlockK), edge = stackalloc T[GemmKernels.MaxRows * GemmKernels.MaxPanelWidth];
        T* packedA = a.ColumnStride == 1 ? null : PackBuffer<T>.A(TileRows * BlockK);
        int blocks = (depth + BlockK - 1) / BlockK, evenly = blocks == 0 ? 0 : (depth + blocks - 1) / blocks;
        for (int k = 0; k < depth; k += evenly)
        {
            int block = Math.Min(evenly, depth - k);
            PackB(b, k, block, column, columns, packedB);
            if (packedA is not null)
            {
                PackA(a, row, rows, k, block, packedA);
            }

            bool add = accumulate || k > 0;
            for (int j = 0; j < columns; j += width)
            {
                T* panel = packedB + ((long)j * block);
                bool whole = columns - j >= width;
                for (int i = 0; i < rows; i += height)
                {
                    int count = Math.Min(height, rows - i);

                    // Packed rows of A lie in groups, k-major; unpacked ones where they are.
                    T* rowsOfA = packedA is not null ? packedA + ((long)i * block) : a.At(row + i, k);
                    long rowStride = packedA is not null ? 1 : a.RowStride, kStride = packedA is not null ? height : 1;
                    T* to = c.Data + ((long)(row + i) * c.Columns) + column + j;
                    if (whole)
                    {
                        GemmKernels.Run(rowsOfA, rowStride, kStride, count, panel, block, to, c.Columns, add);
                    }
                    else
                    {
                        GemmKernels.Run(rowsOfA, rowStride, kStride, count, panel, block, edge, width, add: false);
                        CopyEdge(edge, width, count, columns - j, to, c.Columns, add);
                    }
                }
            }
        }
    }

    private static void CopyEdge<T>(T* edge, int width, int rows, int columns, T* to, int stride, bool add) where T : unmanaged, IBinaryFloatingPointIeee754<T>
    {
        for (int i = 0; i < rows; i++)
        {
            for (int j = 0; j < columns; j++)
            {
                T value = edge[(i * width) + j];
                to[((long)i * stride) + j] = add ? to[((long)i * stride) + j] + value : value;
            }
        }
    }

    /// <summary>Panels of B: panel p holds, for each k, the columns [p*width, (p+1)*width) side by side; absent columns are zero.</summary>
    private static void PackB<T>(Operand<T> b, int k, int block, int column, int columns, T* to) where T : unmanaged, IBinaryFloatingPointIeee754<T>
    {
        int width = GemmKernels.PanelWidth<T>();
        for (int j = 0; j < columns; j += width, to += (long)width * block)
        {
            int count = Math.Min(width, columns - j);
            if (count < width)
            {
                new Span<T>(to, width * block).Clear();
            }

            if (b.ColumnStride == 1 && count == width)
            {
                Packing.Panel(b.At(k, column + j), b.RowStride, block, to);
            }
            else if (b.ColumnStride == 1)
            {
                for (int p = 0; p < block; p++)
                {
                    new ReadOnlySpan<T>(b.At(k + p, column + j), count).CopyTo(new Span<T>(to + ((long)p * width), count));
                }
            }
            else
            {
                Packing.Transpose(b.At(k, column + j), b.ColumnStride, count, block, to, width);
            }
        }
    }

    /// <summary>Groups of a kernel's rows of A, k-major, for a transposed A: its rows are columns in memory, so those of a group are side by side.</summary>
    private static void PackA<T>(Operand<T> a, int row, int rows, int k, int block, T* to) where T : unmanaged, IBinaryFloatingPointIeee754<T>
    {
        int height = GemmKernels.Rows;
        for (int i = 0; i < rows; i += height)
        {
            Packing.Groups(a.At(row + i, k), a.ColumnStride, Math.Min(height, rows - i), block, to);
            to += (long)block * height;
        }
    }

    /// <summary>A matrix seen through strides, so that a transposed one is not another case. One of the strides is 1.</summary>
    private readonly struct Operand<T>(Tensor<T> tensor, long rowStride, long columnStride) where T : unmanaged, IBinaryFloatingPointIeee754<T>
    {
        public long RowStride { get; } = rowStride;

        public long ColumnStride { get; } = columnStride;

        /// <summary>A copy with elements rounded to bf16, laid out alike.</summary>
        public Operand<T> Rounded()
        {
            Tensor<T> copy = Tensor<T>.Zeros(tensor.Rows, tensor.Columns);
            BFloat16Gemm.Round(tensor, copy);
            return new Operand<T>(copy, RowStride, ColumnStride);
        }

        public T* At(int row, int column) => tensor.Data + (row * RowStride) + (column * ColumnStride);
    }

    /// <summary>Ends <see cref="In"/>.</summary>
    public readonly ref struct Scope(Products before)
    {
        private readonly Products _before = before;

        /// <summary>Back to what the thread's products did before.</summary>
        public void Dispose() => t_products = _before;
    }

    /// <summary>A thread's packing memory, aligned to cache lines; grows once and stays.</summary>
    private static class PackBuffer<T> where T : unmanaged
    {
        [ThreadStatic]
        private static T[]? t_a;

        [ThreadStatic]
        private static T[]? t_b;

        public static T* A(int elements) => Aligned(ref t_a, elements);

        public static T* B(int elements) => Aligned(ref t_b, elements);

        private static T* Aligned(ref T[]? buffer, int elements)
        {
            int slack = 64 / sizeof(T);
            if (buffer is null || buffer.Length < elements + slack)
            {
                buffer = GC.AllocateUninitializedArray<T>(elements + slack, pinned: true);
            }

            nint address = (nint)System.Runtime.CompilerServices.Unsafe.AsPointer(ref System.Runtime.InteropServices.MemoryMarshal.GetArrayDataReference(buffer));
            return (T*)((address + 63) & ~(nint)63);
        }
    }
}
