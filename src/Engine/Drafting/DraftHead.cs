using System.Runtime.InteropServices;
using LowLevelSpec.Engine.Backends;
using LowLevelSpec.Models;

namespace LowLevelSpec.Engine.Drafting;

/// <summary>
/// The rows of an LM head that belong to a trimmed draft vocabulary, gathered in their stored type: a drafter then scores N tokens for N / V of the
/// price. The target verifies with its whole head, so the text is the same. The backend's weight reads this memory: dispose it after the last use.
/// </summary>
internal sealed unsafe class DraftHead : IDisposable
{
    private void* _memory;

    /// <param name="backend">Where it runs.</param>
    /// <param name="head">The whole LM head [V, E].</param>
    /// <param name="tokens">N distinct token ids.</param>
    /// <exception cref="InputException">A token outside the vocabulary, one twice, or none.</exception>
    public DraftHead(IBackend backend, TensorView head, IReadOnlyList<int> tokens)
    {
        if (DraftVocabulary.Fault(tokens, head.Rows) is string fault)
        {
            throw new InputException($"the draft vocabulary {fault}");
        }

        Tokens = [.. tokens];
        long rowBytes = head.RowBytes;
        _memory = NativeMemory.AlignedAlloc((nuint)(rowBytes * Tokens.Length), 64);
        for (int i = 0; i < Tokens.Length; i++)
        {
            Buffer.MemoryCopy((byte*)head.Data + (head.StoredRow(Tokens[i]) * rowBytes), (byte*)_memory + (i * rowBytes), rowBytes, rowBytes);
        }

        Weight = backend.LoadMatrix(new TensorView($"{head.Name} of the draft vocabulary", head.Type, [Tokens.Length, head.Columns], (nint)_memory, head.FilePath));
    }

    /// <summary>The target's token of each row.</summary>
    public int[] Tokens { get; }

    /// <summary>[N, E]</summary>
    public Weight Weight { get; }

    /// <inheritdoc/>
    public void Dispose()
    {
        NativeMemory.AlignedFree(_memory);
        _memory = null;
    }
}
