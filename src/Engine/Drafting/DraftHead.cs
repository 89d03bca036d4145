using LowLevelSpec.Engine.Backends;
using LowLevelSpec.Engine.Backends.Cpu;
using LowLevelSpec.Models;

namespace LowLevelSpec.Engine.Drafting;

/// <summary>
/// The rows of an LM head that belong to a trimmed draft vocabulary, gathered in their stored type (and rounded, where there are several, if the backend rounds a drafter's floats):
/// a drafter then scores N tokens for N / V of the price, or less. The target verifies with its whole head, so the text is the same. Where they are not rounded, the backend's weight reads this memory: dispose it after the last use.
/// </summary>
internal sealed unsafe class DraftHead : IDisposable
{
    /// <summary>Most tokens of a text that <see cref="OfText"/> adds.</summary>
    public const int MostOfText = 1024;

    private readonly IBackend _backend;
    private readonly TensorView _whole;
    private readonly bool[]? _scored;
    private readonly IDisposable? _collected;
    private readonly NativeBlock _rows;

    /// <param name="backend">Where it runs.</param>
    /// <param name="head">The whole LM head [V, E]; its file stays open as long as this.</param>
    /// <param name="tokens">N distinct token ids.</param>
    /// <param name="followsText">Whether a text's own tokens join the table while it is written, see <see cref="OfText"/>.</param>
    /// <exception cref="InputException">A token outside the vocabulary, one twice, or none.</exception>
    public DraftHead(IBackend backend, TensorView head, IReadOnlyList<int> tokens, bool followsText = false)
        : this(backend, head, Checked(head, tokens), followsText, collect: false)
    {
    }

    private DraftHead(IBackend backend, TensorView head, int[] tokens, bool followsText, bool collect)
    {
        (_backend, _whole, Tokens) = (backend, head, tokens);
        long rowBytes = head.RowBytes;
        _rows = new NativeBlock(rowBytes * Tokens.Length, "the draft vocabulary's LM head");
        for (int i = 0; i < Tokens.Length; i++)
        {
            Buffer.MemoryCopy((byte*)head.Data + (head.StoredRow(Tokens[i]) * rowBytes), _rows.Pointer + (i * rowBytes), rowBytes, rowBytes);
        }

        TensorView rows = new($"{head.Name} of the draft vocabulary", head.Type, [Tokens.Length, head.Columns], (nint)_rows.Pointer, head.FilePath);
        Weight? weight = null;
        try
        {
            // What is loaded for one text goes with it; the rest is collected with its drafter.
            _collected = collect ? backend.CollectWeights(() => weight = backend.LoadDraftMatrix(rows)) : null;
            Weight = weight ?? backend.LoadDraftMatrix(rows);
            if (Weight is CpuWeight { Owner: not null })
            {
                // Rounded, in memory of its own.
                _rows.Dispose();
            }
        }
        catch
        {
            Dispose();
            throw;
        }

        if (followsText && backend.ExtendsDraftHeads)
        {
            _scored = new bool[head.Rows];
            Array.ForEach(Tokens, token => _scored[token] = true);
        }
    }

    /// <summary>The target's token of each row.</summary>
    public int[] Tokens { get; }

    /// <summary>[N, E]</summary>
    public Weight Weight { get; }

    /// <summary>
    /// The rows of a text's own tokens that the table lacks, at most the last <see cref="MostOfText"/> of them: names and rare words of a prompt come again in its answer. Null where there are
    /// none, where the table was given to be kept to, or where the backend had better not load weights for a text. The caller's to dispose.
    /// </summary>
    /// <param name="text">The committed tokens.</param>
    public DraftHead? OfText(ReadOnlySpan<int> text)
    {
        if (_scored is null)
        {
            return null;
        }

        HashSet<int> missing = [];
        for (int i = text.Length - 1; i >= 0 && missing.Count < MostOfText; i--)
        {
            if (!_scored[text[i]])
            {
                missing.Add(text[i]);
            }
        }

        try
        {
            return missing.Count == 0 ? null : new DraftHead(_backend, _whole, [.. missing], followsText: false, collect: true);
        }
        catch (Exception e) when (e is InputException or OutOfMemoryException)
        {
            // A text that there is no memory for shows elsewhere; drafting does without.
            return null;
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _collected?.Dispose();
        _rows.Dispose();
    }

    private static int[] Checked(TensorView head, IReadOnlyList<int> tokens) =>
        DraftVocabulary.Fault(tokens, head.Rows) is string fault ? throw new InputException($"the draft vocabulary {fault}") : [.. tokens];
}
