using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace LowLevelSpec.Engine.Backends.Cpu;

/// <summary>Where the results of a matrix product go.</summary>
internal unsafe struct MatMulTarget
{
    /// <summary>O.</summary>
    public int Outputs;

    /// <summary>Output [rows, O].</summary>
    public float* Output;

    /// <summary>Elements between output rows.</summary>
    public nint OutputStride;

    /// <summary>[O] or null.</summary>
    public float* Bias;

    /// <summary>Whether the product is added to the output.</summary>
    public bool Accumulate;

    /// <summary>output = sum (+ bias) (+ output) for up to 4 outputs of one row.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly void Put(float* sums, int row, int output)
    {
        float* to = Output + (row * OutputStride) + output;
        if (output + 4 <= Outputs)
        {
            Vector128<float> result = Vector128.Load(sums);
            if (Bias is not null)
            {
                result += Vector128.Load(Bias + output);
            }

            if (Accumulate)
            {
                result = Vector128.Load(to) + result;
            }

            result.Store(to);
            return;
        }

        for (int i = 0; output + i < Outputs; i++)
        {
            float result = sums[i];
            if (Bias is not null)
            {
                result += Bias[output + i];
            }

            to[i] = Accumulate ? to[i] + result : result;
        }
    }

    /// <summary>As <see cref="Put"/> for up to 16 outputs, the same additions in wider registers.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly void PutGroup<TVec>(float* sums, int row, int output)
        where TVec : unmanaged, ISimd16<TVec>
    {
        if (output + 16 > Outputs)
        {
            for (int i = 0; i < 16; i += 4)
            {
                Put(sums + i, row, output + i);
            }

            return;
        }

        float* to = Output + (row * OutputStride) + output;
        TVec result = TVec.Load(sums);
        if (Bias is not null)
        {
            result = TVec.Add(result, TVec.Load(Bias + output));
        }

        TVec.Store(Accumulate ? TVec.Add(TVec.Load(to), result) : result, to);
    }
}
