using System.Text.Json;
using LowLevelSpec.Models;
using LowLevelSpec.Training.Compute;
using LowLevelSpec.Training.Data;
using LowLevelSpec.Training.Drafters;
using LowLevelSpec.Training.Losses;
using LowLevelSpec.Training.Optimisation;
using LowLevelSpec.Training.Targets;

namespace LowLevelSpec.Training.Checking;

/// <summary>
/// Compares the trainer with golden vectors of the authors' code: masks, forward values, losses, gradients of every tensor and optimiser traces, with the
/// tolerances that the vectors' README derives from the reference's own float32 error. Everything is read from the files: any shapes will do.
/// </summary>
public sealed class TrainingGolden
{
    private const double LogitTolerance = 2e-4, TightLogitTolerance = 1e-4, MixedTolerance = 2e-4, EagleLayerTolerance = 7e-5;
    private const double LossTolerance = 2e-6, GradientTolerance = 2e-4, NormTolerance = 3e-5;
    private const double OptimiserLossTolerance = 3e-6, RateTolerance = 1e-6, WeightTolerance = 3e-2;

    private readonly GoldenFiles _files;
    private readonly GoldenReport _report;
    private readonly FrozenTarget<float> _target;
    private readonly TrainingBatch _batch;
    private readonly bool[][] _padded;
    private readonly int[] _lengths;
    private readonly Arena<float> _arena = new();

    private TrainingGolden(GoldenFiles files, FrozenTarget<float> target)
    {
        (_files, _target) = (files, target);
        _report = new GoldenReport(Path.GetFileName(files.Folder));
        IReadOnlyList<long> shape = files.Shape("batch.input_ids");
        int rows = (int)shape[0], length = (int)shape[1];
        long[] ids = files.Integers("batch.input_ids"), mask = files.Integers("batch.attention_mask"), response = files.Integers("batch.response_mask");
        _padded = [.. response.Chunk(length).Select(static row => row.Select(static r => r != 0).ToArray())];
        _lengths = [.. mask.Chunk(length).Select(static row => (int)row.Sum())];
        TrainingSequence[] sequences = new TrainingSequence[rows];
        for (int r = 0; r < rows; r++)
        {
            if (mask.AsSpan(r * length, _lengths[r]).Contains(0))
            {
                throw new ModelFileException(files.Folder, "the batch's attention mask has padding before tokens, expected padding on the right only");
            }

            sequences[r] = new TrainingSequence([.. ids.Skip(r * length).Take(_lengths[r]).Select(static id => (int)id)], _padded[r][.._lengths[r]]);
        }

        _batch = new TrainingBatch(sequences);
    }

    /// <summary>Checks every folder below <paramref name="directory"/> (or the folder itself) that holds training vectors.</summary>
    /// <returns>The groups of all cases; empty where no folder holds any.</returns>
    /// <exception cref="InputException">A file of a case is missing or malformed.</exception>
    public static IReadOnlyList<GoldenResult> Check(string directory)
    {
        ArgumentException.ThrowIfNullOrEmpty(directory);
        List<GoldenResult> results = [];
        foreach (string folder in Directory.GetDirectories(directory).Append(directory).Order(StringComparer.Ordinal))
        {
            if (!File.Exists(Path.Combine(folder, "training.json")) || !File.Exists(Path.Combine(folder, "training.safetensors")))
            {
                continue;
            }

            using GoldenFiles files = new(folder);
            using ModelFile model = ModelFile.Open(Path.Combine(folder, "target"));
            try
            {
                TrainingGolden golden = new(files, new FrozenTarget<float>(model.Tensors));
                golden.Run();
                results.AddRange(golden._report.Results);
            }
            catch (Exception e) when (e is KeyNotFoundException or InvalidOperationException or FormatException)
            {
                throw new ModelFileException(Path.Combine(folder, "training.json"), $"lacks a value or has one of another type, expected golden training values: {e.Message}", e);
            }
        }

        return results;
    }

    private void Run()
    {
        foreach (JsonProperty variant in _files.Json.GetProperty("variants").EnumerateObject())
        {
            CheckVariant(variant.Name, variant.Value);
        }

        if (_files.Json.TryGetProperty("optimiser", out JsonElement traces))
        {
            foreach (JsonElement trace in traces.EnumerateArray())
            {
                CheckTrace(trace);
            }
        }
    }

    private void CheckVariant(string name, JsonElement json)
    {
        PracticeChoices choices = Choices(json);
        DrafterModel<float> drafter = Open(json.GetProperty("checkpoint").GetString()!, json);
        CheckMasks(name, choices);
        drafter.ClearGradients();
        _arena.Reset();
        TargetStates<float> states = _target.States(_arena, _batch, drafter.TargetLayers);
        Prediction<float> prediction = drafter.Forward(_arena, _batch, states, choices);
        CheckForward(name, prediction);
        (LossTerms terms, Tensor<float>? dHidden, Tensor<float>? dMiddle) = DrafterLoss.Compute(_arena, _target, _batch, states, prediction, LossWeights.Paper(drafter.TargetLayers));
        drafter.Backward(_arena, prediction, dHidden!, dMiddle);
        CheckTerms(name, "loss terms", json.GetProperty("terms"), terms, LossTolerance);
        CheckGradients(name, json, drafter);
    }

    private PracticeChoices Choices(JsonElement variant)
    {
        JsonElement random = _files.Json.GetProperty("random");
        return new PracticeChoices(
            variant.GetProperty("variable_future_length").GetBoolean() ? [.. random.GetProperty("every").EnumerateArray().Select(static e => e.GetInt32())] : null,
            variant.GetProperty("staircase_mask").GetBoolean() ? [.. random.GetProperty("staircase_rows").EnumerateArray().Select(static e => e.GetBoolean())] : null);
    }

    private DrafterModel<float> Open(string checkpoint, JsonElement variant)
    {
        using DrafterFile file = DrafterFile.Open(Path.Combine(_files.Folder, checkpoint), _target.Config);
        return file.Moa is not null ? MoaModel<float>.Load(_target, file.Moa, variant.GetProperty("target_layer_inference").GetInt32())
            : file.Eagle is not null ? EagleModel<float>.Load(_target, file.Eagle)
            : throw new ModelFileException(file.Path, "is an independent model, expected a Mixture-of-Attentions or EAGLE drafter");
    }

    private void CheckMasks(string variant, PracticeChoices choices)
    {
        if (!_files.Has($"{variant}.start"))
        {
            return;
        }

        // The vectors cover padding too, which counts as verified.
        List<long> starts = [], selfMask = [], crossMask = [];
        for (int r = 0; r < _padded.Length; r++)
        {
            int[] start = VerificationPoints.Starts(_padded[r], choices.Every?[r]);
            starts.AddRange(start.Select(static s => (long)s));
            for (int i = 0; i < start.Length; i++)
            {
                int low = VerificationPoints.SelfAttentionLow(i, start[i], choices.Staircase?[r] ?? false);
                selfMask.AddRange(Enumerable.Range(0, start.Length).Select(j => j >= low && j <= i ? 1L : 0));
                crossMask.AddRange(Enumerable.Range(0, start.Length).Select(j => j <= start[i] ? 1L : 0));
            }
        }

        _report.Equal(variant, "start", starts, _files.Integers($"{variant}.start"));
        _report.Equal(variant, "SA mask", selfMask, _files.Integers($"{variant}.sa_mask"));
        _report.Equal(variant, "CA mask", crossMask, _files.Integers($"{variant}.ca_mask"));
    }

    private void CheckForward(string variant, Prediction<float> prediction)
    {
        if (prediction is MoaPrediction<float> moa)
        {
            CheckRows(variant, "Ekv2E output", "ekv2e_output", moa.Mixed, 0, MixedTolerance);
            // The README gives TLI 3 and EAGLE half the room of the others.
            CheckLogits(variant, prediction, moa.Last is { Layers.Count: >= 3 } ? TightLogitTolerance : LogitTolerance, 0);
        }
        else
        {
            CheckRows(variant, "layer output", "layer_output", prediction.Hidden, 1, EagleLayerTolerance);
            CheckLogits(variant, prediction, TightLogitTolerance, 1);
        }
    }

    private void CheckLogits(string variant, Prediction<float> prediction, double tolerance, int shift)
    {
        if (_files.Has($"{variant}.logits"))
        {
            ArenaMark mark = _arena.Mark();
            Tensor<float> logits = _arena.Allocate(prediction.Hidden.Rows, _target.Config.VocabularySize);
            Gemm.NT(prediction.Hidden, _target.Head.Value, logits);
            CheckRows(variant, "logits", "logits", logits, shift, tolerance);
            _arena.Release(mark);
        }
    }

    /// <summary>Compares packed rows with a padded tensor [sequences, T, C]; of every sequence the first length - shift rows. Padding is not compared.</summary>
    private void CheckRows(string variant, string group, string suffix, Tensor<float> packed, int shift, double tolerance)
    {
        string name = $"{variant}.{suffix}";
        if (!_files.Has(name))
        {
            return;
        }

        float[] expected = _files.Floats(name);
        int padded = (int)_files.Shape(name)[1], next = 0;
        for (int s = 0; s < _lengths.Length; s++)
        {
            int count = _lengths[s] - shift;
            _report.Compare(variant, group, $"{suffix} of sequence {s}", packed.Slice(next, count).Span, expected.AsSpan(s * padded * packed.Columns, count * packed.Columns), tolerance);
            next += count;
        }
    }

    private void CheckTerms(string variant, string group, JsonElement expected, LossTerms terms, double tolerance)
    {
        foreach ((string key, double actual) in ((string, double)[])[("total", terms.Total), ("loss", terms.Total), ("forward_KL", terms.ForwardKl), ("feature_loss", terms.Feature), ("prev_feature_loss", terms.PreviousFeature)])
        {
            if (expected.TryGetProperty(key, out JsonElement value))
            {
                _report.Compare(variant, group, key, actual, value.GetDouble(), tolerance);
            }
        }
    }

    private void CheckGradients(string variant, JsonElement json, DrafterModel<float> drafter)
    {
        HashSet<string> unseen = [.. _files.Names.Where(n => n.StartsWith($"{variant}.grad", StringComparison.Ordinal))];
        JsonElement norms = json.GetProperty("tensor_gradient_norms");
        foreach (Parameter<float> parameter in drafter.Parameters)
        {
            string whole = $"{variant}.grad.{parameter.Name}", probe = $"{variant}.grad_probe.{parameter.Name}";
            ReadOnlySpan<float> gradient = parameter.Gradient!.Span;
            if (unseen.Remove(whole))
            {
                CompareGradient(variant, parameter.Name, gradient, _files.Floats(whole));
            }
            else if (unseen.Remove(probe))
            {
                int every = (gradient.Length + 191) / 192;
                float[] picked = new float[(gradient.Length + every - 1) / every];
                for (int i = 0; i < picked.Length; i++)
                {
                    picked[i] = gradient[i * every];
                }

                CompareGradient(variant, parameter.Name, picked, _files.Floats(probe));
            }
            else
            {
                _report.Fail(variant, "gradients", $"{parameter.Name} has no golden gradient", GradientTolerance);
            }

            if (norms.TryGetProperty(parameter.Name, out JsonElement norm))
            {
                _report.Compare(variant, "norms of gradients", parameter.Name, GradientClipping.Norm(parameter.Gradient), norm.GetDouble(), GradientTolerance, norm.GetDouble());
            }
        }

        foreach (string name in unseen)
        {
            _report.Fail(variant, "gradients", $"{name} belongs to no tensor of the drafter", GradientTolerance);
        }

        double total = json.GetProperty("gradient_norm").GetDouble();
        _report.Compare(variant, "global gradient norm", "", GradientClipping.Norm(drafter.Parameters), total, NormTolerance, total);
    }

    private void CompareGradient(string variant, string name, ReadOnlySpan<float> actual, float[] expected) =>
        _report.Compare(variant, "gradients", name, actual, expected, GradientTolerance, Math.Max(expected.Max(static v => (double)MathF.Abs(v)), double.Epsilon));

    private void CheckTrace(JsonElement trace)
    {
        JsonElement variant = _files.Json.GetProperty("variants").GetProperty(trace.GetProperty("variant").GetString()!);
        string name = $"optimiser {trace.GetProperty("name").GetString()}";
        PracticeChoices choices = Choices(variant);
        DrafterModel<float> drafter = Open(trace.GetProperty("checkpoint").GetString()!, variant);
        double[] betas = [.. trace.GetProperty("betas").EnumerateArray().Select(static b => b.GetDouble())];
        AdamW<float> optimiser = new(drafter.Parameters, new AdamWOptions(betas[0], betas[1], trace.GetProperty("eps").GetDouble(), trace.GetProperty("weight_decay").GetDouble()));
        PeakSchedule schedule = new(trace.GetProperty("base_learning_rate").GetDouble(), trace.GetProperty("warmup_steps").GetInt32(), trace.GetProperty("decay_steps").GetInt32());
        LossWeights weights = LossWeights.Paper(drafter.TargetLayers);
        double rates = 0;
        foreach (JsonElement step in trace.GetProperty("steps").EnumerateArray())
        {
            double expectedRate = step.GetProperty("learning_rate").GetDouble(), rate = schedule.Rate(step.GetProperty("step").GetInt32());
            _report.Compare(name, "learning rates", "", rate, expectedRate, RateTolerance, Math.Max(expectedRate, double.Epsilon));
            drafter.ClearGradients();
            LossTerms terms = TrainingStep.Backward(_arena, _target, drafter, _batch, choices, weights);
            CheckTerms(name, "losses", step, terms, OptimiserLossTolerance);
            double norm = step.GetProperty("gradient_norm").GetDouble();
            _report.Compare(name, "gradient norms", "", GradientClipping.Clip(drafter.Parameters, trace.GetProperty("clip").GetDouble()), norm, NormTolerance, norm);
            optimiser.Step(rate);
            rates += rate;
        }

        _report.Compare(name, "losses", "after", TrainingStep.Loss(_arena, _target, drafter, _batch, choices, weights).Total, trace.GetProperty("loss_after").GetDouble(), OptimiserLossTolerance);
        foreach (string tensor in trace.GetProperty("final_tensors").EnumerateArray().Select(static t => t.GetString()!))
        {
            Parameter<float>? parameter = drafter.Parameters.FirstOrDefault(p => p.Name == tensor);
            if (parameter is null)
            {
                _report.Fail(name, "final weights / sum of rates", $"the drafter has no tensor {tensor}", WeightTolerance);
                continue;
            }

            string trail = name["optimiser ".Length..];
            _report.Compare(name, "final weights / sum of rates", tensor, parameter.Value.Span, _files.Floats($"optimiser.{trail}.final.{tensor}"), WeightTolerance, rates);
        }
    }
}
