using System.Runtime.InteropServices;
using System.Security.Cryptography;
using LowLevelSpec.Engine;
using LowLevelSpec.Engine.Backends;
using LowLevelSpec.Engine.Decoding;
using LowLevelSpec.Engine.Sampling;
using LowLevelSpec.Engine.Target;
using LowLevelSpec.Models;

namespace LowLevelSpec.Training.Distillation;

/// <summary>A prompt and the target's answer to it.</summary>
/// <param name="Index">The prompt's place in its source; grows from answer to answer, by more than one where a source drops prompts.</param>
/// <param name="Prompt">Prompt ids.</param>
/// <param name="Answer">Answer ids, an end token included.</param>
public sealed record DistilledAnswer(long Index, IReadOnlyList<int> Prompt, IReadOnlyList<int> Answer);

/// <summary>How far a distillation is.</summary>
/// <param name="Answers">Answers handed out by this run.</param>
/// <param name="Tokens">Tokens chosen by this run, those of own user turns and of answers not yet handed out included.</param>
public readonly record struct DistillProgress(int Answers, long Tokens);

/// <summary>
/// Lets the target answer prompts, greedily or sampled, many at once: each pass holds one row per sequence that writes and, in the rows left, prompt tokens
/// of those that were just admitted, so a finished sequence's place is taken at once. The engine gives a row the same bits whatever rows
/// come along, so an answer is the one that plain decoding writes alone, whatever <c>rows</c> is. One caller at a time.
/// </summary>
public sealed class Distiller : IDisposable
{
    /// <summary>Most sequences in flight.</summary>
    public const int MostSequences = 64;

    /// <summary>Most rows of one pass: enough to reuse each weight, small enough to stay in cache and to cancel soon.</summary>
    internal const int PassRows = 128;

    /// <summary>Answers longer than this that end in a loop are cut here.</summary>
    internal const int LoopCut = 100;

    /// <summary>A source that gives nothing this often in a row never will.</summary>
    internal const int MostDropped = 1000;

    private const int LoopWindow = 48, LoopTokens = 10;

    /// <summary>Cache rows are rented in multiples of this, so that sequences of about the same length can share them one after the other.</summary>
    private const int CacheStep = 128;

    private readonly LanguageModel _model;
    private readonly int _maxNew, _rows;
    private readonly SamplingOptions? _sampling;
    private readonly TargetPass _pass;
    private readonly PassBatch _batch = new(PassRows, 1);
    private readonly List<RunningSequence> _running = [], _choosing = [];
    private readonly List<KvCache> _free = [];
    private readonly int[] _chosen;
    private readonly float[] _logits;
    private long _tokens;

    /// <summary>Prepares for a target.</summary>
    /// <param name="model">The target; must outlive the distiller.</param>
    /// <param name="maxNew">Most tokens of an answer.</param>
    /// <param name="rows">Most sequences in flight, at most <see cref="MostSequences"/>.</param>
    /// <param name="sampling">How answers are sampled, each with a seed of its own that follows from this one's and the prompt's index; null = greedily.</param>
    public Distiller(LanguageModel model, int maxNew, int rows, SamplingOptions? sampling = null)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentOutOfRangeException.ThrowIfLessThan(maxNew, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(rows, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(rows, MostSequences);
        (_model, _maxNew, _rows, _sampling) = (model, maxNew, rows, sampling);
        _chosen = new int[rows];
        _logits = new float[model.Config.VocabularySize];
        _pass = new TargetPass(model.Backend, model.Target, PassRows, rows);
    }

    /// <summary>The ids of a request's prompt, as the engine reads it.</summary>
    /// <exception cref="InputException">The prompt is unusable.</exception>
    public int[] Encode(GenerationRequest request)
    {
        ArgumentNullException.ThrowIfNull(request);
        int[] prompt = RequestChecks.Prompt(request, _model.Config, _model.Tokenizer);
        RequestChecks.Check(request, _model, prompt.Length);
        return prompt;
    }

    /// <summary>What tells this target from others: a hash of the hidden states of a fixed input, which every machine computes to the same bits.</summary>
    public string TargetFingerprint()
    {
        int count = Math.Min(16, _model.ContextLength), e = _model.Config.HiddenSize;
        KvCache cache = Rent(count);
        try
        {
            _batch.Clear();
            for (int i = 0; i < count; i++)
            {
                _batch.AddCausal(cache, new TokenId((int)((i + 1L) * 7919 % _model.Config.VocabularySize)), new Position(i), new CacheRow(i));
            }

            _pass.Forward(_batch);
            float[] hidden = new float[count * e];
            _model.Backend.Read(_pass.Hidden, hidden);
            return Convert.ToHexStringLower(SHA256.HashData(MemoryMarshal.AsBytes(hidden.AsSpan())))[..16];
        }
        finally
        {
            _free.Add(cache);
        }
    }

    /// <summary>Answers prompts until <paramref name="count"/> answers are handed out.</summary>
    /// <param name="source">Where prompts come from.</param>
    /// <param name="first">Index of the first prompt.</param>
    /// <param name="count">Answers wanted.</param>
    /// <param name="write">Takes the answers, in the order of their prompts.</param>
    /// <param name="report">Called after each pass.</param>
    /// <param name="cancellation">Looked at between passes.</param>
    /// <exception cref="InputException">The target's logits are not finite, or the source gives no prompts.</exception>
    /// <exception cref="OperationCanceledException">Cancelled; what was handed out stands.</exception>
    public void Run(PromptSource source, long first, int count, Action<DistilledAnswer> write, Action<DistillProgress>? report = null, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(source);
        ArgumentNullException.ThrowIfNull(write);
        _model.Take();
        try
        {
            // Finished and not yet handed out, as an earlier prompt's answer is still being written; null = dropped.
            Dictionary<long, DistilledAnswer?> finished = [];
            long admitted = first, due = first;
            int written = 0, ready = 0, dropped = 0;
            _tokens = 0;
            while (written < count)
            {
                cancellation.ThrowIfCancellationRequested();
                for (; _running.Count < _rows && written + ready + _running.Count < count; admitted++)
                {
                    Admit(source.Begin(admitted), admitted);
                }

                Step(source, (index, answer) =>
                {
                    finished.Add(index, answer);
                    ready += answer is null ? 0 : 1;
                });
                for (; written < count && finished.Remove(due, out DistilledAnswer? answer); due++)
                {
                    dropped = answer is null ? dropped + 1 : 0;
                    if (answer is not null)
                    {
                        write(answer);
                        written++;
                        ready--;
                    }
                    else if (dropped == MostDropped)
                    {
                        throw new InputException($"{MostDropped} user turns in a row came out unusable: this target does not write user turns; give prompts from files");
                    }
                }

                report?.Invoke(new DistillProgress(written, _tokens));
            }
        }
        finally
        {
            _free.AddRange(_running.Select(static s => s.Cache));
            _running.Clear();
            _model.Return();
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _pass.Dispose();
        foreach (KvCache cache in _free)
        {
            cache.Dispose();
        }

        _free.Clear();
    }

    /// <summary>An answer without the rest of a loop: a target that repeats itself to the limit teaches a drafter little more than its first rounds do.</summary>
    internal static ReadOnlySpan<int> WithoutLoop(ReadOnlySpan<int> answer) =>
        answer.Length > LoopCut && answer[^LoopWindow..].ToArray().Distinct().Count() < LoopTokens ? answer[..LoopCut] : answer;

    private void Admit(SequenceStart start, long index)
    {
        int limit = Math.Min(_model.ContextLength, start.Tokens.Length + (start.Sampler is null ? _maxNew : start.MostSampled));

        // An own turn's cache is made long enough for the answer, which then needs no second prefill.
        int rows = start.Sampler is null ? limit : Math.Min(_model.ContextLength, limit + _maxNew + CacheStep / 2);
        _running.Add(new RunningSequence(index, Rent(rows))
        {
            Sampler = start.Sampler ?? AnswerSampler(index, start.Tokens),
            WritesTurn = start.Sampler is not null,
            Tokens = [.. start.Tokens],
            Written = start.Tokens.Length,
            Limit = limit,
        });
    }

    private TokenSampler? AnswerSampler(long index, int[] prompt) =>
        _sampling is null ? null : new TokenSampler(_sampling with { Seed = SequenceSeed.OfAnswer(_sampling.Seed, index) }, _model.Config.VocabularySize, prompt);

    /// <summary>One pass over the running sequences; hands over those that end with it.</summary>
    private void Step(PromptSource source, Action<long, DistilledAnswer?> finish)
    {
        FillBatch();
        _pass.Forward(_batch);
        Choose();
        foreach (RunningSequence sequence in _choosing)
        {
            _tokens++;
            int token = sequence.Tokens[^1];
            if (sequence.WritesTurn)
            {
                if (source.EndsTurn(token) || sequence.Tokens.Count == sequence.Limit)
                {
                    Answer(sequence, source.Prompt(sequence.Tokens), finish);
                }
            }
            else if (_model.Config.EndTokens.Contains(token) || sequence.Tokens.Count == sequence.Limit)
            {
                ReadOnlySpan<int> tokens = CollectionsMarshal.AsSpan(sequence.Tokens);
                End(sequence, new DistilledAnswer(sequence.Index, tokens[..sequence.Written].ToArray(), WithoutLoop(tokens[sequence.Written..]).ToArray()), finish);
            }
        }
    }

    /// <summary>
    /// Rows that choose a token come first, so that their logits are one block: the last token of each sequence whose other tokens are in its cache.
    /// A prompt's last token therefore never goes with its chunk but in the next pass.
    /// </summary>
    private void FillBatch()
    {
        _batch.Clear();
        _choosing.Clear();
        foreach (RunningSequence sequence in _running.Where(static s => s.Pending == 1))
        {
            _choosing.Add(sequence);
            Feed(sequence, 1);
        }

        foreach (RunningSequence sequence in _running.Where(static s => s.Pending > 1))
        {
            Feed(sequence, Math.Min(PassRows - _batch.Count, sequence.Pending - 1));
        }
    }

    private void Feed(RunningSequence sequence, int count)
    {
        int first = sequence.Cache.Length;
        for (int i = first; i < first + count; i++)
        {
            _batch.AddCausal(sequence.Cache, new TokenId(sequence.Tokens[i]), new Position(i), new CacheRow(i));
        }

        sequence.Cache.Length = first + count;
    }

    /// <summary>Appends its next token to every choosing sequence.</summary>
    private void Choose()
    {
        if (_choosing.Count == 0)
        {
            return;
        }

        Matrix logits = _pass.Logits(0, _choosing.Count);
        try
        {
            _model.Backend.ArgMax(logits, _chosen.AsSpan(0, _choosing.Count));
            for (int i = 0; i < _choosing.Count; i++)
            {
                int token = _chosen[i];
                if (_choosing[i].Sampler is { } sampler)
                {
                    _model.Backend.Read(logits.Slice(i, 1), _logits);
                    TokenId sampled = sampler.Choose(_logits);
                    sampler.Commit(sampled);
                    token = sampled.Value;
                }

                _choosing[i].Tokens.Add(token);
            }
        }
        catch (ArithmeticException e)
        {
            throw new InputException("the model's logits are not finite: its weights hold NaN or infinity, or overflow; check the file with 'llspec inspect' and download or convert it again", e);
        }
    }

    /// <summary>Turns a sequence that wrote its user turn into one that answers it; keys and values of the tokens both begin with stay.</summary>
    private void Answer(RunningSequence sequence, int[]? prompt, Action<long, DistilledAnswer?> finish)
    {
        if (prompt is null || prompt.Length >= _model.ContextLength)
        {
            End(sequence, null, finish);
            return;
        }

        int limit = Math.Min(_model.ContextLength, prompt.Length + _maxNew), kept = 0;
        if (limit <= sequence.Cache.Capacity)
        {
            int most = Math.Min(sequence.Cache.Length, prompt.Length - 1);
            kept = CollectionsMarshal.AsSpan(sequence.Tokens)[..most].CommonPrefixLength(prompt);
        }
        else
        {
            _free.Add(sequence.Cache);
            sequence.Cache = Rent(limit);
        }

        sequence.Cache.Length = kept;
        sequence.Tokens = [.. prompt];
        (sequence.Written, sequence.Limit, sequence.Sampler, sequence.WritesTurn) = (prompt.Length, limit, AnswerSampler(sequence.Index, prompt), false);
    }

    private void End(RunningSequence sequence, DistilledAnswer? answer, Action<long, DistilledAnswer?> finish)
    {
        _running.Remove(sequence);
        _free.Add(sequence.Cache);
        finish(sequence.Index, answer);
    }

    /// <summary>An empty cache of at least <paramref name="rows"/> rows: the smallest free one that is long enough, or a new one in the place of a free one.</summary>
    private KvCache Rent(int rows)
    {
        KvCache? cache = _free.Where(c => c.Capacity >= rows).MinBy(static c => c.Capacity);
        if (cache is null)
        {
            if (_free.MinBy(static c => c.Capacity) is { } small)
            {
                _free.Remove(small);
                small.Dispose();
            }

            try
            {
                return _model.Target.CreateCache((rows + CacheStep - 1) / CacheStep * CacheStep);
            }
            catch (OutOfMemoryException e)
            {
                throw new InputException($"{_running.Count + 1} sequences of about {rows} tokens need more memory than there is: ask for fewer --rows or a smaller --max-new", e);
            }
        }

        _free.Remove(cache);
        cache.Length = 0;
        return cache;
    }
}
