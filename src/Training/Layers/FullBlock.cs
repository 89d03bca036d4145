using System.Numerics;
using LowLevelSpec.Training.Compute;

namespace LowLevelSpec.Training.Layers;

/// <summary>
/// Attention inside a short segment whose rows all see all of it (LSA: the layers of one token), one kv head with its group of query heads: small dense
/// matrix products over the kernels of <see cref="Gemm"/>, which keep several queries in registers. <see cref="HeadBlock{T}"/> takes the other segments.
/// Lives in thread-local memory until the thread's next <see cref="Rent"/>.
/// </summary>
internal readonly unsafe struct FullBlock<T> where T : unmanaged, IBinaryFloatingPointIeee754<T>
{
    /// <summary>Most rows of a segment: scores of a group stay in a first-level cache.</summary>
    private const int MaxCount = 64;

    private readonly int _count, _headSize, _queries, _panel, _keys, _elements;
    private readonly T* _kT, _v, _vT, _k, _scores, _gradients, _q, _d, _rows;

    private FullBlock(int count, int headSize, int group, bool backward)
    {
        _panel = GemmKernels.PanelWidth<T>();
        _count = count;
        _headSize = headSize;
        _queries = group * count;
        _keys = (count + _panel - 1) / _panel * _panel;
        _elements = (headSize + _panel - 1) / _panel * _panel;
        long columns = (long)headSize * _keys, rows = (long)count * _elements, scores = (long)(_queries + GemmKernels.MaxRows) * _keys, queries = (long)_queries * _elements;
        long results = (long)(_keys + GemmKernels.MaxRows) * _elements, total = columns + rows + scores + results + (backward ? columns + rows + scores + (2 * queries) : 0);
        T* next = ThreadMemory<T>.Rent(total);
        _kT = ThreadMemory<T>.Take(ref next, columns);
        _v = ThreadMemory<T>.Take(ref next, rows);
        _scores = ThreadMemory<T>.Take(ref next, scores);
        _rows = ThreadMemory<T>.Take(ref next, results);
        _vT = backward ? ThreadMemory<T>.Take(ref next, columns) : null;
        _k = backward ? ThreadMemory<T>.Take(ref next, rows) : null;
        _gradients = backward ? ThreadMemory<T>.Take(ref next, scores) : null;
        _q = backward ? ThreadMemory<T>.Take(ref next, queries) : null;
        _d = backward ? ThreadMemory<T>.Take(ref next, queries) : null;
    }

    /// <summary>Whether segment <paramref name="segment"/> is one for this class.</summary>
    public static bool Takes(AttentionPlan plan, int segment)
    {
        (int first, int count) = plan.Segments[segment];
        return count is > 0 and <= MaxCount && !plan.Low.AsSpan(first, count).ContainsAnyExcept(0) && !plan.High.AsSpan(first, count).ContainsAnyExcept(count);
    }

    /// <summary>This thread's block for <paramref name="count"/> keys and <paramref name="group"/> query heads.</summary>
    public static FullBlock<T> Rent(int count, int headSize, int group, bool backward) => new(count, headSize, group, backward);

    /// <summary>Writes output [n, H*D] and lse [n, H] of the segment that starts at row <paramref name="first"/>, heads <paramref name="head"/>.. of the group of kv head <paramref name="kv"/>.</summary>
    public void Forward(Tensor<T> q, Tensor<T> k, Tensor<T> v, int first, int kv, int head, int group, T scale, Tensor<T> output, Tensor<T> lse)
    {
        Transpose(At(k, first, kv), k.Columns, _kT);
        Panels(At(v, first, kv), v.Columns, _count, _count, _v);
        T* shares = stackalloc T[GemmKernels.MaxRows];
        for (int h = head; h < head + group; h++)
        {
            for (int i = 0; i < _count; i += GemmKernels.Rows)
            {
                int rows = Math.Min(GemmKernels.Rows, _count - i);
                Scores(At(q, first + i, h), q.Columns, rows, _kT, _scores);
                for (int r = 0; r < rows; r++)
                {
                    T* row = _scores + ((long)r * _keys);
                    Simd.Scale(row, scale, _count);
                    T max = Simd.Max(row, _count), sum = Simd.ExpSum(row, max, row, _count);
                    shares[r] = T.One / sum;
                    lse.Data[((long)(first + i + r) * lse.Columns) + h] = max + T.Log(sum);
                }

                Sums(_scores, _keys, 1, rows, _v, _count, _rows);
                for (int r = 0; r < rows; r++)
                {
                    Simd.Scale(_rows + ((long)r * _elements), shares[r], _headSize);
                }

                Store(_rows, rows, At(output, first + i, h), output.Columns);
            }
        }
    }

    /// <summary>Writes dq, and dk and dv of kv head <paramref name="kv"/>; dq may be dOutput.</summary>
    public void Backward(
        Tensor<T> q, Tensor<T> k, Tensor<T> v, Tensor<T> lse, int first, int kv, int head, int group, T scale, Tensor<T> dOutput, Tensor<T> dq, Tensor<T> dk, Tensor<T> dv)
    {
        Transpose(At(k, first, kv), k.Columns, _kT);
        Transpose(At(v, first, kv), v.Columns, _vT);
        Panels(At(k, first, kv), k.Columns, _count, _count, _k);
        for (int g = 0; g < group; g++)
        {
            Panels(At(q, first, head + g), q.Columns, _count, _queries, _q + ((long)g * _count * _panel));
            Panels(At(dOutput, first, head + g), dOutput.Columns, _count, _queries, _d + ((long)g * _count * _panel));
        }

        for (int g = 0; g < group; g++)
        {
            for (int i = 0; i < _count; i += GemmKernels.Rows)
            {
                int rows = Math.Min(GemmKernels.Rows, _count - i), h = head + g;
                T* p = _scores + ((long)((g * _count) + i) * _keys), ds = _gradients + ((long)((g * _count) + i) * _keys);
                Scores(At(q, first + i, h), q.Columns, rows, _kT, p);
                Scores(At(dOutput, first + i, h), dOutput.Columns, rows, _vT, ds);
                for (int r = 0; r < rows; r++, p += _keys, ds += _keys)
                {
                    Simd.Scale(p, scale, _count);
                    _ = Simd.ExpSum(p, lse.Data[((long)(first + i + r) * lse.Columns) + h], p, _count);
                    T mean = Simd.Dot(p, ds, _count);
                    for (int j = 0; j < _count; j++)
                    {
                        ds[j] = p[j] * (ds[j] - mean) * scale;
                    }
                }

                Sums(_gradients + ((long)((g * _count) + i) * _keys), _keys, 1, rows, _k, _count, _rows);
                Store(_rows, rows, At(dq, first + i, h), dq.Columns);
            }
        }

        OverQueries(_scores, _d);
        Store(_rows, _count, At(dv, first, kv), dv.Columns);
        OverQueries(_gradients, _q);
        Store(_rows, _count, At(dk, first, kv), dk.Columns);
    }

    private T* At(Tensor<T> tensor, int row, int head) => tensor.Data + ((long)row * tensor.Columns) + ((long)head * _headSize);

    /// <summary>Panels of the transpose: for each element of a head the keys side by side; keys past the last are zero.</summary>
    private void Transpose(T* from, int stride, T* to)
    {
        for (int first = 0; first < _keys; first += _panel, to += (long)_headSize * _panel)
        {
            int count = Math.Min(_panel, _count - first);
            if (count < _panel)
            {
                new Span<T>(to, _headSize * _panel).Clear();
            }

            Packing.Transpose(from + ((long)first * stride), stride, count, _headSize, to, _panel);
        }
    }

    /// <summary>Panels of head elements of <paramref name="rows"/> rows, each panel <paramref name="depth"/> rows deep; elements past the head's last are zero.</summary>
    private void Panels(T* from, int stride, int rows, int depth, T* to)
    {
        for (int first = 0; first < _elements; first += _panel, to += (long)depth * _panel)
        {
            int count = Math.Min(_panel, _headSize - first);
            for (int i = 0; i < rows; i++)
            {
                Span<T> row = new(to + ((long)i * _panel), _panel);
                new ReadOnlySpan<T>(from + ((long)i * stride) + first, count).CopyTo(row);
                row[count..].Clear();
            }
        }
    }

    /// <summary>to [rows, keys] = x [rows, D] times the panels of a transpose.</summary>
    private void Scores(T* x, int stride, int rows, T* columns, T* to)
    {
        for (int j = 0; j < _keys; j += _panel)
        {
            GemmKernels.Run(x, stride, 1, rows, columns + ((long)j * _headSize), _headSize, to + j, _keys, add: false);
        }
    }

    /// <summary>to [rows, padded D] = weights [rows, depth], element (i, k) at i * rowStride + k * kStride, times panels of rows.</summary>
    private void Sums(T* weights, long rowStride, long kStride, int rows, T* panels, int depth, T* to)
    {
        for (int e = 0; e < _elements; e += _panel)
        {
            GemmKernels.Run(weights, rowStride, kStride, rows, panels + ((long)e * depth), depth, to + e, _elements, add: false);
        }
    }

    /// <summary>The rows' buffer [keys, padded D] = weights [queries, keys] transposed times panels of queries. A last group may reach past the keys, into padding.</summary>
    private void OverQueries(T* weights, T* panels)
    {
        for (int j = 0; j < _count; j += GemmKernels.Rows)
        {
            int rows = j + GemmKernels.Rows <= _keys ? GemmKernels.Rows : Math.Min(GemmKernels.Rows, _count - j);
            Sums(weights + j, 1, _keys, rows, panels, _queries, _rows + ((long)j * _elements));
        }
    }

    private void Store(T* from, int rows, T* to, int stride)
    {
        for (int i = 0; i < rows; i++)
        {
            new ReadOnlySpan<T>(from + ((long)i * _elements), _headSize).CopyTo(new Span<T>(to + ((long)i * stride), _headSize));
        }
    }
}
