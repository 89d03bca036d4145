using LowLevelSpec.Models;
using LowLevelSpec.Training.Compute;
using LowLevelSpec.Training.Data;
using LowLevelSpec.Training.Drafters;
using LowLevelSpec.Training.Layers;
using LowLevelSpec.Training.Losses;
using LowLevelSpec.Training.Optimisation;
using LowLevelSpec.Training.Targets;
using Xunit;

namespace LowLevelSpec.Training.Tests;

/// <summary>Whole trainings on a random target: they learn, they resume to the same bits, they write what the engine reads.</summary>
public sealed class TrainerTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("llspec-").FullName;

    public TrainerTests() => SmallCase.Write(TargetFolder, biases: false);

    private string TargetFolder => Directory.CreateDirectory(Path.Combine(_folder, "target")).FullName;

    public static TheoryData<DrafterPlan> Plans => new()
    {
        new MoaPlan(new MoaSizes(1, 6, 3, 7, 1, 9), 0), new MoaPlan(new MoaSizes(1, 6, 3, 7, 1, 9), 1), new EaglePlan(1, 8), new IndependentPlan(Independent),
    };

    private static LlamaConfig Independent => new()
    {
        ModelType = "llama",
        VocabularySize = SmallCase.Vocabulary,
        HiddenSize = 8,
        Layers = 1,
        Heads = 2,
        KvHeads = 1,
        HeadSize = 4,
        IntermediateSize = 8,
        RmsNormEpsilon = 1e-5f,
        RopeTheta = 100,
        ContextLength = 64,
    };

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [MemberData(nameof(Plans))]
    public void A_killed_training_resumes_to_the_same_bits_and_logs_each_step_once(DrafterPlan plan)
    {
        string whole = Path.Combine(_folder, "whole"), killed = Path.Combine(_folder, "killed");
        using (Trainer trainer = Open(whole, Options(plan)))
        {
            trainer.Run();
        }

        // Dies after step 6, two steps past its checkpoint, and again after step 9; the second time with half a line in its log.
        foreach (int death in (int[])[6, 9])
        {
            using Trainer trainer = Open(killed, Options(plan));
            Assert.Throws<InvalidOperationException>(() => trainer.Run(step =>
            {
                if (step.Step == death)
                {
                    throw new InvalidOperationException("killed");
                }
            }));
        }

        File.AppendAllText(Path.Combine(killed, "log.jsonl"), "{\"Step\":10,\"Learn");
        File.WriteAllText(Path.Combine(killed, "model.safetensors.0123.tmp"), "half a file");
        using (Trainer trainer = Open(killed, Options(plan)))
        {
            Assert.Equal(8, trainer.Steps);
            trainer.Run();
        }

        foreach (string file in (string[])["log.jsonl", "checkpoint.safetensors", "model.safetensors", "config.json"])
        {
            Assert.Equal(File.ReadAllBytes(Path.Combine(whole, file)), File.ReadAllBytes(Path.Combine(killed, file)));
        }

        Assert.Equal(12, File.ReadAllLines(Path.Combine(whole, "log.jsonl")).Length);
        Assert.Equal(Directory.GetFiles(whole).Length, Directory.GetFiles(killed).Length);
    }

    [Theory]
    [MemberData(nameof(Plans))]
    public void Training_lowers_the_loss_and_writes_a_drafter_that_opens(DrafterPlan plan)
    {
        string folder = Path.Combine(_folder, "out");
        List<StepLog> steps = [];
        using (Trainer trainer = Open(folder, Options(plan) with { Steps = 60, CheckpointEvery = 100 }))
        {
            trainer.Run(steps.Add);
            HeldOutReport report = trainer.HeldOut(Texts(3, 77));
            Assert.InRange(report.Agreement, 0, 1);
            Assert.InRange(report.ChainTau, 1, 8);
        }

        Assert.True(steps[^5..].Average(static s => s.Loss) < steps[..5].Average(static s => s.Loss) - 0.01, $"{steps[0].Loss} to {steps[^1].Loss}");
        using ModelFile target = ModelFile.Open(TargetFolder);
        using DrafterFile drafter = DrafterFile.Open(folder, target.Tensors.Config);
        Assert.Equal(plan is MoaPlan ? DrafterKind.Moa : plan is EaglePlan ? DrafterKind.Eagle : DrafterKind.Independent, drafter.Kind);
        if (plan is MoaPlan moa)
        {
            Assert.Equal(moa.Layers, drafter.Moa!.TargetLayerInference);
        }
    }

    [Fact]
    public void Other_options_do_not_resume_a_training()
    {
        string folder = Path.Combine(_folder, "out");
        TrainerOptions options = Options(new EaglePlan(1, 8));
        using (Trainer trainer = Open(folder, options with { Steps = 2 }))
        {
            trainer.Run();
        }

        Assert.Contains("another folder", Assert.Throws<ModelFileException>(() => Open(folder, options with { Seed = 99 })).Message);
        using Trainer longer = Open(folder, options with { Steps = 3 });
        Assert.Equal(2, longer.Steps);
    }

    [Fact]
    public void Other_texts_or_another_target_of_the_same_sizes_do_not_resume_a_training()
    {
        string folder = Path.Combine(_folder, "out");
        TrainerOptions options = Options(new EaglePlan(1, 8)) with { Steps = 2 };
        using (Trainer trainer = Open(folder, options))
        {
            trainer.Run();
        }

        List<TrainingSequence> texts = Texts(30, 5);
        texts[3] = texts[3] with { Tokens = [.. texts[3].Tokens.Reverse()] };
        Assert.Contains("another folder", Assert.Throws<ModelFileException>(() => new Trainer(TargetFolder, texts, folder, options)).Message);
        texts = Texts(30, 5);
        texts[3] = texts[3] with { Response = [.. texts[3].Response.Select(static (r, i) => r && i > 6)] };
        Assert.Contains("another folder", Assert.Throws<ModelFileException>(() => new Trainer(TargetFolder, texts, folder, options)).Message);

        string weights = Path.Combine(TargetFolder, "model.safetensors");
        byte[] bytes = File.ReadAllBytes(weights);
        bytes[^2] ^= 1;
        File.WriteAllBytes(weights, bytes);
        Assert.Contains("another folder", Assert.Throws<ModelFileException>(() => Open(folder, options)).Message);
    }

    [Fact]
    public void Accumulated_micro_batches_make_one_step()
    {
        TrainerOptions options = Options(new EaglePlan(1, 8)) with { MicroBatches = 3, Steps = 2 };
        List<StepLog> steps = [];
        using Trainer trainer = Open(Path.Combine(_folder, "out"), options);
        trainer.Run(steps.Add);
        Assert.All(steps, step => Assert.True(step.Tokens > options.MicroBatchTokens));
    }

    [Fact]
    public void A_share_of_the_cross_entropy_trains_too_and_resumes()
    {
        TrainerOptions options = Options(new MoaPlan(new MoaSizes(1, 6, 3, 7, 1, 9), 0)) with { KlShare = 0.4, Steps = 6 };
        (List<StepLog> whole, List<StepLog> parts) = WholeAndInParts(options);

        Assert.Equal(whole, parts);
    }

    [Theory]
    [MemberData(nameof(Plans))]
    public void Products_in_bf16_resume_to_the_same_bits_and_learn_almost_the_same(DrafterPlan plan)
    {
        TrainerOptions options = Options(plan) with { Products = Products.BFloat16, Steps = 6 };
        List<StepLog> single = [];
        using (Trainer trainer = Open(Path.Combine(_folder, "single"), options with { Products = Products.Single }))
        {
            trainer.Run(single.Add);
        }

        (List<StepLog> whole, List<StepLog> parts) = WholeAndInParts(options);

        Assert.Equal(whole, parts);
        Assert.NotEqual(single, whole);

        // Operands are off by 2^-8 at most, and a loss passes through some ten products in a row.
        Assert.All(single.Zip(whole), static pair => Assert.InRange(pair.Second.Loss / pair.First.Loss, 1 - (10.0 / 256), 1 + (10.0 / 256)));
    }

    [Theory]
    [MemberData(nameof(Plans))]
    public void Muon_learns_and_resumes_to_the_same_bits(DrafterPlan plan)
    {
        TrainerOptions options = Options(plan) with { Optimiser = OptimiserKind.Muon, Steps = 6 };
        List<StepLog> adam = [];
        using (Trainer trainer = Open(Path.Combine(_folder, "adam"), options with { Optimiser = OptimiserKind.AdamW }))
        {
            trainer.Run(adam.Add);
        }

        (List<StepLog> whole, List<StepLog> parts) = WholeAndInParts(options);

        Assert.Equal(whole, parts);
        Assert.Equal(adam[0], whole[0]);
        Assert.NotEqual(adam[^1], whole[^1]);
        Assert.Throws<ModelFileException>(() => Open(Path.Combine(_folder, "whole"), options with { Optimiser = OptimiserKind.AdamW }));
    }

    /// <summary>SA starts as the target's first layer, the others at random.</summary>
    [Fact]
    public void Self_attention_starts_from_the_targets_first_layer()
    {
        FrozenTarget<double> target = SmallCase.Target<double>(biases: false);
        MoaModel<double> moa = MoaModel<double>.Create(target, new MoaSizes(1, 6, target.Config.KvHeads, 7, target.Config.KvHeads, 9), 0);
        Initialisation.Normal(moa.Parameters, 1);
        string[] others = ["layer_self_attention.self_attn.q_proj.weight", "cross_attention.self_attn.q_proj.weight"];
        double[][] before = [.. others.Select(name => Values(moa, name))];
        moa.StartFromTarget();
        Assert.Equal(before, others.Select(name => Values(moa, name)));
        LayerParameters<double> first = target.Weights(0);
        foreach ((string kind, Parameter<double> weight) in ((string, Parameter<double>)[])[
            ("self_attn.q_proj.weight", first.Query), ("self_attn.k_proj.weight", first.Key), ("self_attn.v_proj.weight", first.Value), ("self_attn.o_proj.weight", first.Output),
            ("input_layernorm.weight", first.InputNorm), ("post_attention_layernorm.weight", first.PostNorm)])
        {
            Assert.Equal(weight.Value.Span.ToArray(), Values(moa, "self_attention." + kind));
        }

        // As many of the first neurons as there are: rows of gate and up, columns of down.
        Assert.Equal(first.Up.Value.Span[..(7 * target.Config.HiddenSize)].ToArray(), Values(moa, "self_attention.mlp.up_proj.weight"));
        Assert.Equal(first.Down.Value.Row(2)[..7].ToArray(), Values(moa, "self_attention.mlp.down_proj.weight")[14..21]);

        static double[] Values(MoaModel<double> moa, string name) => moa.Parameters.Single(p => p.Name == name).Value.Span.ToArray();
    }

    [Fact]
    public void Measurements_are_logged_once_however_often_the_training_dies()
    {
        TrainerOptions options = Options(new EaglePlan(1, 8));
        HeldOutPlan plan = new(Texts(3, 77), 3);
        string whole = Path.Combine(_folder, "whole"), killed = Path.Combine(_folder, "killed");
        using (Trainer trainer = Open(whole, options))
        {
            trainer.Run(heldOut: plan);
        }

        using (Trainer trainer = Open(killed, options))
        {
            Assert.Throws<InvalidOperationException>(() => trainer.Run(static step => Fail(step.Step == 7), heldOut: plan));
        }

        File.AppendAllText(Path.Combine(killed, "held-out.jsonl"), "{\"Step\":9,");
        using (Trainer trainer = Open(killed, options))
        {
            trainer.Run(heldOut: plan);
        }

        Assert.Equal(File.ReadAllBytes(Path.Combine(whole, "held-out.jsonl")), File.ReadAllBytes(Path.Combine(killed, "held-out.jsonl")));
        Assert.Equal([3, 6, 9, 12], TrainingLogs.Read(killed).HeldOut.Select(static h => h.Step));

        static void Fail(bool now)
        {
            if (now)
            {
                throw new InvalidOperationException("killed");
            }
        }
    }

    [Fact]
    public void A_drafter_starts_from_anothers_weights_and_says_so()
    {
        TrainerOptions options = Options(new EaglePlan(1, 8)) with { Steps = 3 };
        string first = Path.Combine(_folder, "first"), second = Path.Combine(_folder, "second");
        using (Trainer trainer = Open(first, options with { DrafterType = TensorType.F32 }))
        {
            trainer.Run();
        }

        List<StepLog> steps = [];
        using (Trainer trainer = Open(second, options with { StartFrom = first, Seed = 7 }))
        {
            trainer.Run(steps.Add);
        }

        Assert.Equal(3, TrainingLogs.Read(second).Steps.Count);
        Assert.Throws<ModelFileException>(() => Open(second, options with { Seed = 7 }));
        Assert.Contains("shape", Assert.Throws<ModelFileException>(() => Open(Path.Combine(_folder, "third"), Options(new EaglePlan(1, 9)) with { StartFrom = first })).Message);
    }

    [Fact]
    public void Without_cross_attention_the_drafter_sees_its_own_tokens_alone()
    {
        string folder = Path.Combine(_folder, "out");
        using (Trainer trainer = Open(folder, Options(new MoaPlan(new MoaSizes(1, 6, 3, 7, 1, 9), 0, CrossAttention: false)) with { Horizon = 8, DraftVocabulary = 6 }))
        {
            trainer.Run();
        }

        using SafetensorsFile file = SafetensorsFile.Open(Path.Combine(folder, "model.safetensors"));
        Assert.All(Dequantizer.All(file.Get("cross_attention.self_attn.v_proj.weight")), static v => Assert.Equal(0, v));
        TensorView vocabulary = file.Get("draft_vocabulary");
        Assert.Equal((TensorType.I64, 6L), (vocabulary.Type, vocabulary.Shape[0]));
        Assert.Contains("\"draft_vocabulary_size\": 6", File.ReadAllText(Path.Combine(folder, "config.json")));
    }

    [Fact]
    public void Bad_data_is_refused_with_its_line()
    {
        string path = Path.Combine(_folder, "data.jsonl");
        File.WriteAllText(path, "{\"p\": [1, 2], \"a\": [3, 4, 5, 6]}\n{\"p\": [1], \"a\": [99, 1, 1, 1]}\n");
        Assert.Contains("line 2", Assert.Throws<InputException>(() => AnswerFile.Read(path, SmallCase.Vocabulary, 64)).Message);
        TrainingSequence only = Assert.Single(AnswerFile.Read(Written("{\"p\": [1, 2], \"a\": [3, 4, 5, 6]}\n{\"p\": [1], \"a\": [2]}\n"), SmallCase.Vocabulary, 64));
        Assert.Equal([1, 2, 3, 4, 5, 6], only.Tokens);
        Assert.Equal([false, false, true, true, true, true], only.Response);

        string Written(string text)
        {
            File.WriteAllText(path, text);
            return path;
        }
    }

    /// <summary>The steps of six made at once, and of six with a stop after two.</summary>
    private (List<StepLog> Whole, List<StepLog> Parts) WholeAndInParts(TrainerOptions options)
    {
        List<StepLog> whole = [], parts = [];
        using (Trainer trainer = Open(Path.Combine(_folder, "whole"), options))
        {
            trainer.Run(whole.Add);
        }

        foreach (int steps in (int[])[2, 6])
        {
            using Trainer trainer = Open(Path.Combine(_folder, "parts"), options with { Steps = steps });
            trainer.Run(parts.Add);
        }

        return (whole, parts);
    }

    private static TrainerOptions Options(DrafterPlan plan) => new()
    {
        Drafter = plan,
        Loss = plan is IndependentPlan ? new LossWeights(1, 0, 0) : LossWeights.Kl(plan.TargetLayers),
        Schedule = new PeakSchedule(1e-3, 3, 200),
        Steps = 12,
        CheckpointEvery = 4,
        MicroBatchTokens = 40,
        StaircaseSteps = 6,
    };

    private static List<TrainingSequence> Texts(int count, int seed)
    {
        Random random = new(seed);
        return [.. Enumerable.Range(0, count).Select(_ =>
        {
            int length = random.Next(8, 24), prompt = random.Next(2, 5);
            return new TrainingSequence([.. Enumerable.Range(0, length).Select(_ => random.Next(SmallCase.Vocabulary))], [.. Enumerable.Range(0, length).Select(i => i >= prompt)]);
        })];
    }

    private Trainer Open(string folder, TrainerOptions options) => new(TargetFolder, Texts(30, 5), folder, options);
}
