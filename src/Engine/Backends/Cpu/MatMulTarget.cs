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
}
