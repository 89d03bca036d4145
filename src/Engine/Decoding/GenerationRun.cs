using System.Diagnostics;
using System.Text;
using LowLevelSpec.Engine.Sampling;
using LowLevelSpec.Models;

namespace LowLevelSpec.Engine.Decoding;

/// <summary>Runs a generation to its end and hands out what each cycle adds.</summary>
internal static class GenerationRun
{
    /// <summary>Runs <paramref name="plan"/> on the calling thread.</summary>
    /// <param name="model">The target; kept alive until the end.</param>
    /// <param name="plan">Checked request.</param>
    /// <param name="emit">Called after prefill and after each cycle.</param>
    /// <param name="state">Passed to <paramref name="emit"/>.</param>
    /// <param name="cancellation">Looked at between passes; a cancelled run returns what there is with <see cref="FinishReason.Cancelled"/>.</param>
    public static GenerationResult Execute<TState>(LanguageModel model, GenerationPlan plan, Action<TState, GenerationChunk> emit, TState state, CancellationToken cancellation)
    {
        model.Take();
        try
        {
            plan.Drafter.Lifetime.Take(plan.Drafter);
            try
            {
                using Generation generation = Start(model, plan);
                return Execute(generation, plan, emit, state, cancellation);
            }
            finally
            {
                plan.Drafter.Lifetime.Return();
            }
        }
        finally
        {
            model.Return();
        }
    }

    private static Generation Start(LanguageModel model, GenerationPlan plan)
    {
        try
        {
            return new Generation(model.Backend, model.Target, plan);
        }
        catch (OutOfMemoryException e)
        {
            throw new InputException($"a sequence of {plan.MaxTokens} tokens needs more memory than there is: ask for fewer new tokens or open the model with a shorter context", e);
        }
    }

    private static GenerationResult Execute<TState>(Generation generation, GenerationPlan plan, Action<TState, GenerationChunk> emit, TState state, CancellationToken cancellation)
    {
        StringBuilder text = new();
        Detokenizer? detokenizer = generation.WatchesText ? null : plan.Tokenizer?.CreateDetokenizer();
        int reported = plan.Prompt.Length;
        bool cancelled = false;
        try
        {
            generation.Prefill(cancellation);
            Report();
            while (generation.Finished is null)
            {
                if (cancellation.IsCancellationRequested)
                {
                    cancelled = true;
                    break;
                }

                generation.Step();
                Report();
            }
        }
        catch (OperationCanceledException) when (cancellation.IsCancellationRequested)
        {
            cancelled = true;
        }

        if (cancelled && (generation.WatchesText ? generation.TakeRest() : detokenizer?.Flush()) is { Length: > 0 } rest)
        {
            // Of the tokens given out: the text held back of them is text, as at any other end.
            text.Append(rest);
            try
            {
                emit(state, new GenerationChunk(rest, ReadOnlyMemory<int>.Empty, 0));
            }
            catch (OperationCanceledException)
            {
                // A reader that is gone, or far behind, has the text in the result.
            }
        }

        int[] output = generation.Tokens[plan.Prompt.Length..].ToArray();
        FinishReason reason = cancelled ? FinishReason.Cancelled : generation.Finished!.Value;
        return new GenerationResult(plan.Prompt, output, plan.Tokenizer is null ? null : text.ToString(), reason, generation.Statistics());

        void Report()
        {
            long start = Stopwatch.GetTimestamp();
            ReadOnlySpan<int> fresh = generation.Tokens[reported..];
            reported += fresh.Length;
            string piece = generation.WatchesText ? generation.TakeText() : Detokenize(detokenizer, fresh, generation.Finished is not null);
            text.Append(piece);
            generation.AddOtherTicks(Stopwatch.GetTimestamp() - start);
            emit(state, new GenerationChunk(piece, fresh.ToArray(), generation.LastAccepted));
        }
    }

    private static string Detokenize(Detokenizer? detokenizer, ReadOnlySpan<int> tokens, bool last)
    {
        if (detokenizer is null)
        {
            return "";
        }

        string text = tokens.Length == 1 ? detokenizer.Add(tokens[0]) : "";
        if (tokens.Length != 1)
        {
            StringBuilder builder = new();
            foreach (int token in tokens)
            {
                builder.Append(detokenizer.Add(token));
            }

            text = builder.ToString();
        }

        return last ? text + detokenizer.Flush() : text;
    }
}
