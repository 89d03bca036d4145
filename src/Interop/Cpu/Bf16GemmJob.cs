using System.Runtime.InteropServices;

namespace LowLevelSpec.Interop.Cpu;

/// <summary>llspec_gemm of native/cpu/llspec_cpu.h: c [rows, columns] = a [rows, depth] b [depth, columns], or added to c. Strides in floats; one of each operand's is 1.</summary>
[StructLayout(LayoutKind.Sequential)]
public unsafe struct Bf16GemmJob
{
    /// <summary>Most rows of one call.</summary>
    public const int MaxRows = 240;

    /// <summary>Words of scratch memory of one call.</summary>
    public const int ScratchWords = (MaxRows + 32) * 256;

    /// <summary>Element (i, k) of a lies at A[i * ARow + k * ADepth].</summary>
    public float* A;

    /// <summary>Element (k, j) of b lies at B[k * BDepth + j * BColumn].</summary>
    public float* B;

    /// <summary>Element (i, j) of c lies at C[i * CRow + j].</summary>
    public float* C;

    /// <summary>See <see cref="A"/>.</summary>
    public long ARow;

    /// <summary>See <see cref="A"/>.</summary>
    public long ADepth;

    /// <summary>See <see cref="B"/>.</summary>
    public long BDepth;

    /// <summary>See <see cref="B"/>.</summary>
    public long BColumn;

    /// <summary>See <see cref="C"/>.</summary>
    public long CRow;

    /// <summary>Rows of a and c.</summary>
    public int Rows;

    /// <summary>Columns of b and c.</summary>
    public int Columns;

    /// <summary>Columns of a, rows of b.</summary>
    public int Depth;

    /// <summary>Whether to add to c (1) or to replace it (0).</summary>
    public int Add;
}
