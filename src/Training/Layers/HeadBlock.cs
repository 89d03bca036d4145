using System.Numerics;
using System.Runtime.Intrinsics;
using LowLevelSpec.Training.Compute;

namespace LowLevelSpec.Training.Layers;

/// <summary>
/// Keys and values of one kv head of one segment, copied so that the inner loops meet whole vectors only: transposed with keys padded to
/// a multiple of the lanes (scores: many keys per vector, no horizontal sums), and row-wise with head elements padded likewise
/// (sums over keys). Lives in thread-local memory until the thread's next <see cref="Rent"/>.
/// </summary>
internal readonly unsafe struct HeadBlock<T> where T : unmanaged, IBinaryFloatingPointIeee754<T>
{
    /// <summary>Vectors that an inner loop holds at once.</summary>
    private const int Unroll = 4;

    private readonly int _count, _headSize, _keys, _padded;
    private readonly T* _kT, _vT, _k, _v, _dk, _dv, _scores, _gradients, _query, _sum;

    private HeadBlock(int count, int headSize, bool backward)
    {
        int lanes = Vector256<T>.Count;
        _count = count;
        _headSize = headSize;
        _keys = (count + lanes - 1) / lanes * lanes;
        _padded = (headSize + lanes - 1) / lanes * lanes;
        long columns = (long)headSize * _keys, rows = (long)count * _padded;
        long total = columns + rows + (2 * _keys) + (2 * _padded) + (backward ? columns + (3 * rows) : 0);
        T* next = ThreadMemory<T>.Rent(total);
        _kT = ThreadMemory<T>.Take(ref next, columns);
        _v = ThreadMemory<T>.Take(ref next, rows);
        _scores = ThreadMemory<T>.Take(ref next, _keys);
        _gradients = ThreadMemory<T>.Take(ref next, _keys);
        _query = ThreadMemory<T>.Take(ref next, _padded);
        _sum = ThreadMemory<T>.Take(ref next, _padded);
        _vT = backward ? ThreadMemory<T>.Take(ref next, columns) : null;
        _k = backward ? ThreadMemory<T>.Take(ref next, rows) : null;
        _dk = backward ? ThreadMemory<T>.Take(ref next, rows) : null;
        _dv = backward ? ThreadMemory<T>.Take(ref next, rows) : null;
    }

    /// <summary>This thread's block for <paramref name="count"/> keys.</summary>
    public static HeadBlock<T> Rent(int count, int headSize, bool backward) => new(count, headSize, backward);

    /// <summary>Copies kv head <paramref name="head"/> of rows first.. of k, v [n, K*D]; clears the gradients.</summary>
    public void Load(Tensor<T> k, Tensor<T> v, int first, int head)
    {
        T* fromK = k.Data + ((long)first * k.Columns) + (head * _headSize), fromV = v.Data + ((long)first * v.Columns) + (head * _headSize);
        Transpose(fromK, k.Columns, _kT);
        Copy(fromV, v.Columns, _v);
        if (_dk is not null)
        {
            Transpose(fromV, v.Columns, _vT);
            Copy(fromK, k.Columns, _k);
            new Span<T>(_dk, _count * _padded).Clear();
            new Span<T>(_dv, _count * _padded).Clear();
        }
    }

    /// <summary>output [D] = softmax(scale q k^T) v over keys low..high-1; returns log sum exp.</summary>
    public T Attend(T* q, int low, int high, T scale, T* output)
    {
        if (low >= high)
        {
            new Span<T>(output, _headSize).Clear();
            return T.NegativeInfinity;
        }

        Dots(q, _kT, low, high, _scores);
        Simd.Scale(_scores + low, scale, high - low);
        T max = Simd.Max(_scores + low, high - low), sum = Simd.ExpSum(_scores + low, max, _scores + low, high - low);
        WeightedSum(_scores, _v, low, high, _sum);
        T share = T.One / sum;
        for (int d = 0; d < _headSize; d++)
        {
            output[d] = _sum[d] * share;
        }

        return max + T.Log(sum);
    }

    /// <summary>Writes dq [D] and adds to this block's dk and dv what one query with output gradient <paramref name="d"/> [D] gives.</summary>
    public void Gradient(T* q, int low, int high, T scale, T lse, T* d, T* dq)
    {
        if (low >= high)
        {
            new Span<T>(dq, _headSize).Clear();
            return;
        }

        int count = high - low;
        Dots(q, _kT, low, high, _scores);
        Simd.Scale(_scores + low, scale, count);
        _ = Simd.ExpSum(_scores + low, lse, _scores + low, count);
        Dots(d, _vT, low, high, _gradients);
        T mean = Simd.Dot(_scores + low, _gradients + low, count);

        // dv first: it needs the probabilities, which then turn into the scores' gradients.
        Pad(d, _query);
        AddOuter(_scores, _query, low, high, _dv);
        for (int j = low; j < high; j++)
        {
            _gradients[j] = _scores[j] * (_gradients[j] - mean) * scale;
        }

        Pad(q, _query);
        AddOuter(_gradients, _query, low, high, _dk);
        WeightedSum(_gradients, _k, low, high, _sum);
        new ReadOnlySpan<T>(_sum, _headSize).CopyTo(new Span<T>(dq, _headSize));
    }

    /// <summary>Writes the gradients to kv head <paramref name="head"/> of rows first.. of dk, dv [n, K*D].</summary>
    public void StoreGradients(Tensor<T> dk, Tensor<T> dv, int first, int head)
    {
        for (int j = 0; j < _count; j++)
        {
            new ReadOnlySpan<T>(_dk + ((long)j * _padded), _headSize).CopyTo(dk.Row(first + j)[(head * _headSize)..]);
            new ReadOnlySpan<T>(_dv + ((long)j * _padded), _headSize).CopyTo(dv.Row(first + j)[(head * _headSize)..]);
        }
    }

    private void Transpose(T* from, int stride, T* to)
    {
        for (int d = 0; d < _headSize; d++)
        {
            T* row = to + ((long)d * _keys);
            for (int j = 0; j < _count; j++)
            {
                row[j] = from[((long)j * stride) + d];
            }

            new Span<T>(row + _count, _keys - _count).Clear();
        }
    }

    private void Copy(T* from, int stride, T* to)
    {
        for (int j = 0; j < _count; j++)
        {
            Pad(from + ((long)j * stride), to + ((long)j * _padded));
        }
    }

    private void Pad(T* from, T* to)
    {
        new ReadOnlySpan<T>(from, _headSize).CopyTo(new Span<T>(to, _headSize));
        new Span<T>(to + _headSize, _padded - _headSize).Clear();
    }

    /// <summary>dots[j] = x . column j of <paramref name="columns"/> [D, keys], for whole vectors around low..high.</summary>
    private void Dots(T* x, T* columns, int low, int high, T* dots)
    {
        int lanes = Vector256<T>.Count, j = low / lanes * lanes;
        for (; j + ((Unroll - 1) * lanes) < high; j += Unroll * lanes)
        {
            Vector256<T> s0 = default, s1 = default, s2 = default, s3 = default;
            T* column = columns + j;
            for (int d = 0; d < _headSize; d++, column += _keys)
            {
                Vector256<T> value = Vector256.Create(x[d]);
                s0 = Simd.Fma(value, Vector256.Load(column), s0);
                s1 = Simd.Fma(value, Vector256.Load(column + lanes), s1);
                s2 = Simd.Fma(value, Vector256.Load(column + (2 * lanes)), s2);
                s3 = Simd.Fma(value, Vector256.Load(column + (3 * lanes)), s3);
            }

            s0.Store(dots + j);
            s1.Store(dots + j + lanes);
            s2.Store(dots + j + (2 * lanes));
            s3.Store(dots + j + (3 * lanes));
        }

        for (; j < high; j += lanes)
        {
            Vector256<T> s = default;
            T* column = columns + j;
            for (int d = 0; d < _headSize; d++, column += _keys)
            {
                s = Simd.Fma(Vector256.Create(x[d]), Vector256.Load(column), s);
            }

            s.Store(dots + j);
        }
    }

    /// <summary>sum [padded D] = sum over j of weights[j] * row j of <paramref name="rows"/> [count, padded D].</summary>
    private void WeightedSum(T* weights, T* rows, int low, int high, T* sum)
    {
        int lanes = Vector256<T>.Count, d = 0;
        for (; d + (Unroll * lanes) <= _padded; d += Unroll * lanes)
        {
            Vector256<T> s0 = default, s1 = default, s2 = default, s3 = default;
            T* row = rows + ((long)low * _padded) + d;
            for (int j = low; j < high; j++, row += _padded)
            {
                Vector256<T> weight = Vector256.Create(weights[j]);
                s0 = Simd.Fma(weight, Vector256.Load(row), s0);
                s1 = Simd.Fma(weight, Vector256.Load(row + lanes), s1);
                s2 = Simd.Fma(weight, Vector256.Load(row + (2 * lanes)), s2);
                s3 = Simd.Fma(weight, Vector256.Load(row + (3 * lanes)), s3);
            }

            s0.Store(sum + d);
            s1.Store(sum + d + lanes);
            s2.Store(sum + d + (2 * lanes));
            s3.Store(sum + d + (3 * lanes));
        }

        for (; d < _padded; d += lanes)
        {
            Vector256<T> s = default;
            for (int j = low; j < high; j++)
            {
                s = Simd.Fma(Vector256.Create(weights[j]), Vector256.Load(rows + ((long)j * _padded) + d), s);
            }

            s.Store(sum + d);
        }
    }

    /// <summary>row j of <paramref name="rows"/> [count, padded D] += weights[j] * x [padded D].</summary>
    private void AddOuter(T* weights, T* x, int low, int high, T* rows)
    {
        int lanes = Vector256<T>.Count;
        for (int j = low; j < high; j++)
        {
            Vector256<T> weight = Vector256.Create(weights[j]);
            T* row = rows + ((long)j * _padded);
            for (int d = 0; d < _padded; d += lanes)
            {
                Simd.Fma(weight, Vector256.Load(x + d), Vector256.Load(row + d)).Store(row + d);
            }
        }
    }
}
