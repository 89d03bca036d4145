using System.Diagnostics;
using LowLevelSpec.Engine.Backends;
using LowLevelSpec.Engine.Drafting;
using LowLevelSpec.Engine.Target;
using LowLevelSpec.Models;

namespace LowLevelSpec.Engine.Measuring;

/// <summary>
/// Times target passes over k rows behind a context, as verification of a drafted chain runs them: k rows through all layers, then the
/// logits of one row (what plain decoding needs, and what llama-bench's pp test of k tokens computes). One caller at a time.
/// </summary>
public sealed class PassTimer : IDisposable
{
    internal const int ChunkRows = 128;

    private readonly IBackend _backend;
    private readonly LlamaModel _target;
    private readonly KvCache _cache;
    private readonly TargetPass _pass;
    private readonly PassBatch _batch;
    private readonly int[] _ancestors, _argMax = new int[1];
    private readonly int _context, _maxRows;

    /// <summary>Fills a cache with <paramref name="context"/> pseudo-random tokens.</summary>
    /// <param name="model">The target; must outlive the timer.</param>
    /// <param name="context">Tokens in front of the timed rows, at least 1.</param>
    /// <param name="maxRows">Most rows of a timed pass.</param>
    /// <exception cref="InputException">Context and rows exceed the model's context length, or there is not enough memory.</exception>
    public PassTimer(LanguageModel model, int context, int maxRows)
        : this(Checked(model, context, maxRows).Backend, model.Target, context, maxRows)
    {
    }

    internal PassTimer(IBackend backend, LlamaModel target, int context, int maxRows)
    {
        (_backend, _target, _context, _maxRows) = (backend, target, context, maxRows);
        _ancestors = [.. Enumerable.Range(context, maxRows)];
        try
        {
            _cache = target.CreateCache(context + maxRows);
            target.Rope.Covering(context + maxRows);
            _pass = new TargetPass(backend, target, Math.Max(ChunkRows, maxRows), DraftTree.MostLogitRows);
        }
        catch (OutOfMemoryException e)
        {
            _cache?.Dispose();
            throw new InputException($"passes behind {context} tokens need more memory than there is: measure with a shorter context", e);
        }

        _batch = new PassBatch(_pass.MaxRows, maxRows * (maxRows + 1) / 2);
        Fill();
    }

    /// <summary>The cache behind which passes run; its rows after the context are free.</summary>
    internal KvCache Cache => _cache;

    /// <summary>Hidden states of the last pass.</summary>
    internal Matrix Hidden => _pass.Hidden;

    /// <summary>Seconds of one pass over <paramref name="rows"/> rows.</summary>
    public double Measure(int rows)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(rows);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(rows, _maxRows);
        long start = Stopwatch.GetTimestamp();
        _batch.Clear();
        for (int i = 0; i < rows; i++)
        {
            int at = _context + i;
            _batch.AddTree(_cache, Token(at), new Position(at), new CacheRow(at), _context, _ancestors.AsSpan(0, i + 1));
        }

        _pass.Forward(_batch);
        _backend.ArgMax(_pass.Logits(rows - 1, 1), _argMax);
        return Stopwatch.GetElapsedTime(start).TotalSeconds;
    }

    /// <summary>
    /// Seconds of the logits of <paramref name="rows"/> rows, at most <see cref="DraftTree.MostLogitRows"/> and at most a timed pass's: what the verifying walk computes at
    /// once. They are the last pass's; where that had fewer rows another one runs first, outside the time.
    /// </summary>
    public double MeasureLogits(int rows)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(rows);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(rows, Math.Min(_maxRows, DraftTree.MostLogitRows));
        if (_batch.Count < rows)
        {
            _ = Measure(rows);
        }

        long start = Stopwatch.GetTimestamp();
        _backend.ArgMax(_pass.Logits(0, rows).Slice(0, 1), _argMax);
        return Stopwatch.GetElapsedTime(start).TotalSeconds;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _pass.Dispose();
        _cache.Dispose();
    }

    private static LanguageModel Checked(LanguageModel model, int context, int maxRows)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(context);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(maxRows);
        return context <= model.ContextLength - maxRows
            ? model
            : throw new InputException($"passes over {maxRows} rows behind {context} tokens need a context of {context + maxRows}, the model has {model.ContextLength}: ask for fewer");
    }

    /// <summary>Scattered over the vocabulary, as a text's tokens are.</summary>
    internal TokenId Token(int at) => new((int)((uint)at * 2654435761u % (uint)_target.Config.VocabularySize));

    private void Fill()
    {
        for (int first = 0; first < _context; first += ChunkRows)
        {
            _batch.Clear();
            for (int i = first; i < Math.Min(_context, first + ChunkRows); i++)
            {
                _batch.AddCausal(_cache, Token(i), new Position(i), new CacheRow(i));
            }

            _pass.Forward(_batch);
            _cache.Length = first + _batch.Count;
        }
    }
}
