using LowLevelSpec.Engine;
using LowLevelSpec.Engine.Decoding;
using LowLevelSpec.Engine.Drafting;
using LowLevelSpec.Models;

namespace LowLevelSpec.Golden;

/// <summary>
/// smollm2/: what the float32 reference writes with SmolLM2-135M-Instruct, judged by the rules of that folder's README for float32
/// activations: outputs equal up to a near tie, logits, likelihoods, and the loop with the MoA drafter.
/// </summary>
internal sealed class SmolChecks
{
    private const string Case = "smollm2", ModelFolder = "smollm2-135m-instruct", DrafterFolder = "smollm2-135m-instruct-moa";
    private const string Transcripts = "transcripts.jsonl", Likelihood = "likelihood.jsonl", MoaTranscripts = "moa-transcripts.jsonl";

    /// <summary>Prompts whose cycles may differ because scores tie at a selection border ("a prompt or two").</summary>
    private const int PromptsThatMayTie = 2;

    private readonly GoldenReport _report;
    private readonly LanguageModel _model;

    private SmolChecks(GoldenReport report, LanguageModel model) => (_report, _model) = (report, model);

    /// <summary>Checks the files that are there; without the model they are skipped.</summary>
    public static void Run(GoldenReport report, string folder, SharedFiles shared, EngineOptions options)
    {
        string[] files = [.. ((string[])[Transcripts, Likelihood, MoaTranscripts]).Where(name => File.Exists(Path.Combine(folder, name)))];
        string? modelFolder = shared.Find("models", ModelFolder), drafterFolder = shared.Find("models", DrafterFolder);
        string? gguf = modelFolder is null ? null : Directory.GetFiles(modelFolder, "*.gguf").Order(StringComparer.Ordinal).FirstOrDefault();
        if (gguf is null)
        {
            foreach (string file in files)
            {
                report.Add(Case, "files", file, Outcome.Skip($"there is no models/{ModelFolder}/*.gguf beside the golden folder or in the shared folder"));
            }

            return;
        }

        LanguageModel? model = null;
        if (!report.Prepare(Case, gguf, () => model = LanguageModel.Open(gguf, options)))
        {
            return;
        }

        using (model)
        {
            SmolChecks checks = new(report, model!);
            foreach (string file in files)
            {
                string path = Path.Combine(folder, file);
                report.Prepare(Case, file, () => checks.RunFile(file, path, drafterFolder));
            }
        }
    }

    private void RunFile(string file, string path, string? drafterFolder)
    {
        switch (file)
        {
            case Transcripts:
                RunTranscripts(GoldenJson.ReadLines<SmolTranscript>(path));
                break;
            case Likelihood:
                List<SmolLikelihood> texts = GoldenJson.ReadLines<SmolLikelihood>(path);
                for (int i = 0; i < texts.Count; i++)
                {
                    SmolLikelihood text = texts[i];
                    _report.Run(Case, Tolerances.SmolLikelihood.Name, $"{Likelihood} line {i + 1}", () => CheckLikelihood(text));
                }

                break;
            default:
                if (drafterFolder is null)
                {
                    _report.Add(Case, "files", MoaTranscripts, Outcome.Skip($"there is no models/{DrafterFolder} beside the golden folder or in the shared folder"));
                    break;
                }

                using (Drafter drafter = _model.OpenDrafter(drafterFolder))
                {
                    RunMoa(drafter, GoldenJson.ReadLines<SmolMoaTranscript>(path));
                }

                break;
        }
    }

    private void RunTranscripts(List<SmolTranscript> rows)
    {
        int longest = rows.Select(static r => r.OutputIds.Length).DefaultIfEmpty(1).Max();
        foreach (SmolTranscript row in rows)
        {
            string name = $"{Transcripts} {row.Set}/{row.QuestionId}";
            if (row.User is not null)
            {
                _report.Run(Case, "SmolLM2 prompts", name, () => Prompt(row));
            }

            _report.Run(Case, Tolerances.SmolGap.Name, name + " top logits", () => TopLogits(row));
            _report.Run(Case, "SmolLM2 outputs", name, () =>
            {
                IReadOnlyList<int> output = _model.Generate(Request(row.PromptIds, row.OutputIds, longest)).OutputIds;
                return Judge(output, row.OutputIds, [.. row.Top20.Select(static s => s.Gap)]);
            });
        }
    }

    /// <summary>Template and tokenizer give the reference's ids, and its output decodes to the reference's text.</summary>
    private Outcome Prompt(SmolTranscript row)
    {
        Tokenizer tokenizer = _model.Tokenizer ?? throw new InputException("the model file brings no tokenizer");
        ChatMessage message = new("user", row.User!);
        int[] rendered = tokenizer.Encode(tokenizer.RenderChat([message]), allowSpecial: true), encoded = tokenizer.EncodeChat([message]);
        string text = tokenizer.Decode(row.OutputIds);
        return !rendered.AsSpan().SequenceEqual(row.PromptIds) ? Outcome.Fail($"the rendered template gives {rendered.Length} ids, expected other {row.PromptIds.Length}")
            : !encoded.AsSpan().SequenceEqual(row.PromptIds) ? Outcome.Fail($"the conversation gives {encoded.Length} ids, expected other {row.PromptIds.Length}")
            : row.Text is not null && text != row.Text ? Outcome.Fail($"the output decodes to '{text}', expected '{row.Text}'")
            : Outcome.Exact(row.PromptIds.Length + row.OutputIds.Length);
    }

    /// <summary>Feeds the reference's own output: logits within the tolerance and its token the best wherever the gap allows no fork.</summary>
    private Outcome TopLogits(SmolTranscript row)
    {
        int prompt = row.PromptIds.Length;
        double largest = 0, tolerance = Tolerances.SmolGap.Absolute;
        string? wrong = row.Top20.Count == row.OutputIds.Length ? null : $"{row.Top20.Count} steps of logits for {row.OutputIds.Length} tokens";
        long values = 0;
        TeacherForcing.Run(_model, [.. row.PromptIds, .. row.OutputIds[..^1]], prompt - 1, (position, logits) =>
        {
            int step = position - prompt + 1;
            SmolStep expected = row.Top20[step];
            (int best, _) = TeacherForcing.TopTwo(logits);
            if (best != row.OutputIds[step] && expected.Gap >= tolerance)
            {
                wrong ??= $"step {step}: best token {best}, expected {row.OutputIds[step]} at a gap of {expected.Gap:G3}";
            }

            for (int i = 0; i < expected.Ids.Length; i++)
            {
                double error = Math.Abs((double)logits[expected.Ids[i]] - expected.Logits[i]);
                if (!(error <= tolerance))
                {
                    wrong ??= $"step {step}, token {expected.Ids[i]}: logit {logits[expected.Ids[i]]:G7}, expected {expected.Logits[i]:G7}";
                }

                largest = double.IsNaN(error) ? double.PositiveInfinity : Math.Max(largest, error);
                values++;
            }
        });
        return new Outcome(wrong is null ? CheckStatus.Passed : CheckStatus.Failed, values, largest, tolerance, wrong);
    }

    private Outcome CheckLikelihood(SmolLikelihood text)
    {
        double largest = 0, sum = 0, tolerance = Tolerances.SmolLikelihood.Absolute;
        string? wrong = text.Nll.Length == text.Ids.Length - 1 ? null : $"{text.Nll.Length} values for {text.Ids.Length} tokens";
        TeacherForcing.Run(_model, text.Ids[..^1], 0, (position, logits) =>
        {
            float max = logits.Max();
            double total = 0;
            foreach (float logit in logits)
            {
                total += Math.Exp(logit - max);
            }

            double nll = max + Math.Log(total) - logits[text.Ids[position + 1]];
            double error = Math.Abs(nll - text.Nll[position]) / Math.Max(1, text.Nll[position]);
            if (!(error <= tolerance))
            {
                wrong ??= $"token {position + 1}: {nll:F5} nats, expected {text.Nll[position]:F5}";
            }

            largest = double.IsNaN(error) ? double.PositiveInfinity : Math.Max(largest, error);
            sum += nll;
        });
        double mean = sum / text.Nll.Length, meanError = Math.Abs(mean - text.MeanNll) / text.MeanNll;
        wrong ??= meanError <= tolerance ? null : $"mean {mean:F5} nats, expected {text.MeanNll:F5}";
        return new Outcome(wrong is null ? CheckStatus.Passed : CheckStatus.Failed, text.Nll.Length + 1, Math.Max(largest, meanError), tolerance, wrong);
    }

    private void RunMoa(Drafter drafter, List<SmolMoaTranscript> rows)
    {
        int longest = rows.Select(static r => r.OutputIds.Length).DefaultIfEmpty(1).Max(), runs = 0, passes = 0, tokens = 0, referencePasses = 0, referenceTokens = 0;
        List<string> different = [];
        foreach (SmolMoaTranscript row in rows)
        {
            string name = $"{row.Set}/{row.QuestionId}";
            _report.Run(Case, "SmolLM2 MoA outputs", $"{MoaTranscripts} {name}", () =>
            {
                TreeSettings tree = new(row.Tree[0], row.Tree[1], row.Tree[2]);
                using Generation generation = _model.Begin(Request(row.PromptIds, row.OutputIds, longest) with { Drafter = drafter, Tree = tree });
                List<int> emitted = [];
                generation.Prefill(CancellationToken.None);
                while (generation.Finished is null)
                {
                    int written = generation.NewTokens;
                    generation.Step();

                    // The reference counts one too many where its last cycle ends inside the accepted run.
                    emitted.Add(generation.NewTokens - written + (generation.NewTokens - written == generation.LastAccepted ? 1 : 0));
                }

                if (!emitted.SequenceEqual(row.Emitted) || emitted.Count + 1 != row.TargetCalls)
                {
                    different.Add($"{name}: [{string.Join(", ", emitted)}], expected [{string.Join(", ", row.Emitted)}]");
                }

                runs++;
                passes += emitted.Count;
                tokens += generation.NewTokens - 1;
                referencePasses += row.TargetCalls - 1;
                referenceTokens += row.OutputIds.Length - 1;
                return Judge(generation.Tokens[row.PromptIds.Length..].ToArray(), row.OutputIds, OwnGaps(row));
            });
        }

        _report.Run(Case, "SmolLM2 MoA cycles", MoaTranscripts + " emitted per cycle", () =>
        {
            Outcome outcome = different.Count <= PromptsThatMayTie && runs == rows.Count
                ? Outcome.Exact(rows.Sum(static r => r.Emitted.Length))
                : Outcome.Fail($"{different.Count} of {rows.Count} prompts differ, {PromptsThatMayTie} may; {string.Join("; ", different)}");
            return different.Count > 0 && outcome.Status == CheckStatus.Passed ? outcome with { Note = $"other cycles, as near ties allow for {PromptsThatMayTie} prompts: {string.Join("; ", different)}" } : outcome;
        });
        _report.Run(Case, Tolerances.SmolTau.Name, MoaTranscripts + " pooled tau", () =>
        {
            double tau = tokens / (double)passes, expected = referenceTokens / (double)referencePasses, error = Math.Abs(tau - expected) / expected;
            bool passed = error <= Tolerances.SmolTau.Absolute && runs == rows.Count;
            return new Outcome(passed ? CheckStatus.Passed : CheckStatus.Failed, runs, error, Tolerances.SmolTau.Absolute, passed ? null : $"tau {tau:F4} over {runs} of {rows.Count} prompts, expected {expected:F4}");
        });
    }

    /// <summary>
    /// Equal, or forked first at a step whose two best logits lie closer than the bound. That the reference's token is the best at every step with a larger
    /// gap is what teacher forcing checks.
    /// </summary>
    private static Outcome Judge(IReadOnlyList<int> found, int[] expected, float[] gaps)
    {
        int fork = 0;
        while (fork < found.Count && fork < expected.Length && found[fork] == expected[fork])
        {
            fork++;
        }

        if (fork == expected.Length && fork == found.Count)
        {
            return Outcome.Exact(fork);
        }

        string where = fork < expected.Length && fork < found.Count ? $"token {fork} is {found[fork]}, expected {expected[fork]}" : $"{found.Count} tokens, expected {expected.Length}";
        return fork < gaps.Length && gaps[fork] < Tolerances.SmolGap.Absolute
            ? Outcome.Exact(fork) with { Note = $"legitimate fork: {where}, the two best logits {gaps[fork]:G3} apart" }
            : Outcome.Fail($"{where}{(fork < gaps.Length ? $", though the two best logits lie {gaps[fork]:G3} apart" : "")}", expected.Length);
    }

    /// <summary>Gap of each step along the reference's output; where it is not at a near tie, the reference's token must be the best.</summary>
    private float[] OwnGaps(SmolMoaTranscript row)
    {
        float[] gaps = new float[row.OutputIds.Length];
        int prompt = row.PromptIds.Length;
        TeacherForcing.Run(_model, [.. row.PromptIds, .. row.OutputIds[..^1]], prompt - 1, (position, logits) =>
        {
            int step = position - prompt + 1;
            (int best, gaps[step]) = TeacherForcing.TopTwo(logits);
            if (best != row.OutputIds[step] && gaps[step] >= Tolerances.SmolGap.Absolute)
            {
                throw new InputException($"step {step} of the reference's output: best token {best}, expected {row.OutputIds[step]}, though the two best logits lie {gaps[step]:G3} apart");
            }
        });
        return gaps;
    }

    /// <summary>An output that ends before an end token was cut by its limit; another one's limit is the file's.</summary>
    private GenerationRequest Request(int[] prompt, int[] output, int longest) => new()
    {
        PromptIds = prompt,
        Tree = null,
        MaxNewTokens = _model.Config.EndTokens.Contains(output[^1]) ? longest : output.Length,
    };
}
