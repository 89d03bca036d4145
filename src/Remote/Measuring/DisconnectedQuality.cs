using LowLevelSpec.Engine;
using LowLevelSpec.Engine.Backends;
using LowLevelSpec.Engine.Decoding;
using LowLevelSpec.Engine.Drafting;
using LowLevelSpec.Models;

namespace LowLevelSpec.Remote.Measuring;

/// <summary>How a drafter's text fares at one distance from the cut.</summary>
/// <param name="Tokens">Tokens since the cut, 1 = the first one written alone.</param>
/// <param name="Cuts">Cuts that this distance was measured on.</param>
/// <param name="Agreement">Share of cuts at which this token is the one that the target's own continuation has in its place.</param>
/// <param name="Intact">Share of cuts at which all tokens up to this one agree: what a client keeps after it has reconnected.</param>
/// <param name="LogProbability">Mean log-probability that the target gives this token after the client's text up to it, in nats.</param>
/// <param name="FirstChoice">Share of cuts at which this token is the target's first choice after the client's text up to it.</param>
public sealed record DisconnectedPoint(int Tokens, int Cuts, double Agreement, double Intact, double LogProbability, double FirstChoice);

/// <summary>
/// What a client writes alone after a cut, measured against the target: at each cycle of a generation the link is taken to break there, and the drafter
/// writes on greedily from what it has seen until then, as a disconnected client does. One target pass over that text gives the target's log-probabilities.
/// </summary>
public static class DisconnectedQuality
{
    /// <summary>Farthest distance from a cut, in tokens: the deepest draft tree.</summary>
    public const int MostTokens = 31;

    /// <summary>Measures a drafter.</summary>
    /// <param name="model">The target.</param>
    /// <param name="drafter">A drafter for it.</param>
    /// <param name="requests">Prompts; greedy, whatever they say about sampling. Their drafters and trees are not used.</param>
    /// <param name="cutsPerPrompt">Most cuts per prompt; they lie a cycle apart.</param>
    /// <param name="advance">Called after each prompt.</param>
    /// <param name="cancellation">Stops between two cycles.</param>
    /// <returns>Distances 1..<see cref="MostTokens"/>.</returns>
    public static IReadOnlyList<DisconnectedPoint> Measure(
        LanguageModel model, Drafter drafter, IReadOnlyList<GenerationRequest> requests, int cutsPerPrompt, Action? advance = null, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(drafter);
        ArgumentNullException.ThrowIfNull(requests);
        ArgumentOutOfRangeException.ThrowIfLessThan(cutsPerPrompt, 1);
        Sums[] sums = [.. Enumerable.Range(0, MostTokens).Select(static _ => new Sums())];
        float[] logits = new float[(MostTokens + 1) * model.Config.VocabularySize];
        foreach (GenerationRequest request in requests)
        {
            MeasureOne(model, drafter, request, cutsPerPrompt, sums, logits, cancellation);
            advance?.Invoke();
        }

        return
        [
            .. sums.Select(static (s, i) => new DisconnectedPoint(
                i + 1, s.Cuts, Share(s.Agreeing, s.Cuts), Share(s.Intact, s.Cuts), Share(s.LogProbability, s.Cuts), Share(s.FirstChoices, s.Cuts))).Where(static p => p.Cuts > 0),
        ];
    }

    private static double Share(double of, int count) => of / Math.Max(1, count);

    private static void MeasureOne(LanguageModel model, Drafter drafter, GenerationRequest request, int cuts, Sums[] sums, float[] logits, CancellationToken cancellation)
    {
        GenerationRequest speculative = request with { Drafter = drafter, Tree = new TreeSettings(MostTokens + 1, 1, MostTokens), Sampling = new(), IgnoreEndTokens = true, MaxNewTokens = (cuts + 1) * (MostTokens + 1) };

        // Logits of all nodes at once: each is looked at.
        using Generation generation = model.Begin(speculative, logitsOnDemand: false);
        generation.Prefill(cancellation);
        List<Written> texts = [];
        while (generation.Finished is null && texts.Count < cuts)
        {
            cancellation.ThrowIfCancellationRequested();
            int committed = generation.Tokens.Length;
            generation.Step();
            DraftTree tree = generation.Tree;
            if (tree.Count > 1)
            {
                texts.Add(Score(generation, model.Backend, committed, tree, logits));
            }
        }

        // Distances count as far as the target's own continuation is known; the tail after the last cut is decoded for it.
        for (int last = texts.Count > 0 ? texts[^1].Start + MostTokens : 0; generation.Finished is null && generation.Tokens.Length < last;)
        {
            cancellation.ThrowIfCancellationRequested();
            generation.Step();
        }

        foreach (Written text in texts)
        {
            ReadOnlySpan<int> own = generation.Tokens[text.Start..];
            bool intact = true;
            for (int i = 0; i < Math.Min(own.Length, text.Tokens.Length); i++)
            {
                bool agrees = own[i] == text.Tokens[i];
                intact &= agrees;
                sums[i].Add(agrees, intact, text.LogProbabilities[i], text.FirstChoices[i]);
            }
        }
    }

    /// <summary>The chain that the last step drafted, with the target's opinion of each token from that step's own pass.</summary>
    private static Written Score(Generation generation, IBackend backend, int committed, DraftTree tree, float[] logits)
    {
        int count = tree.Count - 1;
        int vocabulary = logits.Length / (MostTokens + 1);
        Written text = new(committed, tree.Tokens[1..].ToArray(), new double[count], new bool[count]);
        backend.Read(generation.Pass.Logits(0, count), logits.AsSpan(0, count * vocabulary));
        for (int i = 0; i < count; i++)
        {
            ReadOnlySpan<float> row = logits.AsSpan(i * vocabulary, vocabulary);
            float most = float.NegativeInfinity;
            foreach (float logit in row)
            {
                most = MathF.Max(most, logit);
            }

            double sum = 0;
            foreach (float logit in row)
            {
                sum += Math.Exp(logit - most);
            }

            text.LogProbabilities[i] = row[text.Tokens[i]] - most - Math.Log(sum);
            text.FirstChoices[i] = row.IndexOf(most) == text.Tokens[i];
        }

        return text;
    }

    private sealed record Written(int Start, int[] Tokens, double[] LogProbabilities, bool[] FirstChoices);

    private sealed class Sums
    {
        public int Cuts, Agreeing, Intact, FirstChoices;
        public double LogProbability;

        public void Add(bool agrees, bool intact, double logProbability, bool first)
        {
            Cuts++;
            Agreeing += agrees ? 1 : 0;
            Intact += intact ? 1 : 0;
            FirstChoices += first ? 1 : 0;
            LogProbability += logProbability;
        }
    }
}
