using LowLevelSpec.Models;
using LowLevelSpec.Training.Compute;
using LowLevelSpec.Training.Data;
using LowLevelSpec.Training.Drafters;
using LowLevelSpec.Training.LanguageModels;
using LowLevelSpec.Training.Optimisation;
using Xunit;

namespace LowLevelSpec.Training.Tests;

/// <summary>Language models from scratch: gradients, whole trainings, and how a text becomes sequences.</summary>
public sealed class LanguageModelTests(ITestOutputHelper output) : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("llspec-").FullName;

    private static LlamaConfig Config => new()
    {
        ModelType = "llama",
        VocabularySize = SmallCase.Vocabulary,
        HiddenSize = 8,
        Layers = 2,
        Heads = 2,
        KvHeads = 1,
        HeadSize = 4,
        IntermediateSize = 9,
        RmsNormEpsilon = 1e-5f,
        RopeTheta = 100,
        ContextLength = 64,
        TiedEmbeddings = true,
        EndTokens = [3],
    };

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Gradients_equal_central_differences(bool tied)
    {
        Arena<double> arena = new();
        IndependentModel<double> model = (IndependentModel<double>)SmallCase.Randomised(IndependentModel<double>.Create(Config with { TiedEmbeddings = tied }), 9);
        TrainingBatch batch = SmallCase.Batch();
        model.ClearGradients();
        NextTokenTerms terms = NextTokenLoss.Compute(arena, model, batch, gradients: true);
        Assert.Equal(batch.Rows - batch.Sequences.Count, terms.Positions);
        output.WriteLine(CentralDifferences.Check(model.Parameters, () => NextTokenLoss.Compute(arena, model, batch, gradients: false).Loss));
    }

    [Fact]
    public void The_loss_is_minus_the_log_of_the_next_tokens_probability()
    {
        // All weights but the norm's zero: every token equally likely.
        IndependentModel<double> model = IndependentModel<double>.Create(Config);
        NextTokenTerms terms = NextTokenLoss.Compute(new Arena<double>(), model, SmallCase.Batch(), gradients: false);
        Assert.Equal(Math.Log(SmallCase.Vocabulary), terms.Loss, 12);
    }

    [Fact]
    public void A_killed_training_resumes_to_the_same_bits()
    {
        string whole = Path.Combine(_folder, "whole"), killed = Path.Combine(_folder, "killed");
        using (LanguageModelTrainer trainer = Open(whole))
        {
            trainer.Run();
        }

        using (LanguageModelTrainer trainer = Open(killed))
        {
            Assert.Throws<InvalidOperationException>(() => trainer.Run(static step => _ = step.Step < 6 ? step : throw new InvalidOperationException("killed")));
        }

        using (LanguageModelTrainer trainer = Open(killed))
        {
            Assert.Equal(4, trainer.Steps);
            trainer.Run();
        }

        foreach (string file in (string[])["log.jsonl", "checkpoint.safetensors", "model.safetensors", "config.json"])
        {
            Assert.Equal(File.ReadAllBytes(Path.Combine(whole, file)), File.ReadAllBytes(Path.Combine(killed, file)));
        }

        Assert.Contains("another folder", Assert.Throws<ModelFileException>(() => Open(whole, static o => o with { Seed = 9 })).Message);
    }

    [Fact]
    public void Training_learns_a_text_and_writes_a_model_that_opens()
    {
        List<LanguageModelStep> steps = [];
        using (LanguageModelTrainer trainer = Open(_folder, static o => o with { Steps = 80, CheckpointEvery = 1000 }))
        {
            trainer.Run(steps.Add);
            HeldOutLoss held = trainer.HeldOut(Texts());
            Assert.InRange(held.Loss, 0, 2);
            Assert.InRange(held.Agreement, 0.3, 1);
        }

        Assert.InRange(steps[0].Loss, 2.9, 3);
        using ModelFile file = ModelFile.Open(_folder);
        Assert.Equal(Config with { EndTokens = file.Tensors.Config.EndTokens }, file.Tensors.Config);
        Assert.Equal([3], file.Tensors.Config.EndTokens);
    }

    [Fact]
    public void A_training_starts_from_another_ones_weights()
    {
        string first = Path.Combine(_folder, "first"), second = Path.Combine(_folder, "second");
        double before;
        using (LanguageModelTrainer trainer = Open(first, static o => o with { ModelType = TensorType.F32 }))
        {
            trainer.Run();
            before = trainer.HeldOut(Texts()).Loss;
        }

        using (LanguageModelTrainer trainer = Open(second, o => o with { StartFrom = first }))
        {
            Assert.Equal(before, trainer.HeldOut(Texts()).Loss);
            trainer.Run();
        }

        // Other weights to start from make another training.
        using (LanguageModelTrainer trainer = Open(first, static o => o with { ModelType = TensorType.F32, Steps = 10 }))
        {
            trainer.Run();
        }

        Assert.Contains("another folder", Assert.Throws<ModelFileException>(() => Open(second, o => o with { StartFrom = first })).Message);
        Assert.Throws<ModelFileException>(() => Open(Path.Combine(_folder, "third"), o => o with { StartFrom = first, Config = Config with { IntermediateSize = 7 } }));
    }

    [Fact]
    public void A_text_is_cut_into_documents_and_sequences_that_predict_every_token_once()
    {
        TextCorpus corpus = TextCorpus.Parse(string.Join("\r\n \n\n", Enumerable.Range(0, 120).Select(static i => $"line {i}\nand more")) + "\n\n\n");
        Assert.Equal(120, corpus.Documents.Count);
        Assert.Equal(["line 49\nand more", "line 99\nand more"], corpus.HeldOut);
        Assert.Equal(118, corpus.Training.Count);

        new BpeTrainer(corpus.Training, 300, ["<|end|>"]).Write(_folder, null);
        Tokenizer tokenizer = Tokenizer.Open(_folder)!;
        int[] stream = [.. corpus.HeldOut.SelectMany(d => tokenizer.Encode(d).Append(0))];
        foreach (int length in (int[])[2, 7, stream.Length, stream.Length + 1])
        {
            IReadOnlyList<TrainingSequence> sequences = TextCorpus.Sequences(corpus.HeldOut, tokenizer, 0, length);
            Assert.Equal(stream, sequences[0].Tokens.Take(1).Concat(sequences.SelectMany(static s => s.Tokens.Skip(1))));
            Assert.All(sequences, s => Assert.InRange(s.Tokens.Count, 2, length));
        }
    }

    [Fact]
    public void Files_that_are_no_text_are_refused()
    {
        string path = Path.Combine(_folder, "text");
        Assert.Contains("can't be read", Assert.Throws<InputException>(() => TextCorpus.Read(path)).Message);
        File.WriteAllText(path, " \n\n");
        Assert.Contains("holds no text", Assert.Throws<InputException>(() => TextCorpus.Read(path)).Message);
        File.WriteAllBytes(path, [65, 0xFF, 65]);
        Assert.Contains("byte 1", Assert.Throws<InputException>(() => TextCorpus.Read(path)).Message);
    }

    /// <summary>Texts that count up in steps of one or two: easy once learned.</summary>
    private static List<TrainingSequence> Texts() =>
        [.. Enumerable.Range(0, 40).Select(static i => new TrainingSequence([.. Enumerable.Range(0, 12).Select(t => (i + (t * (1 + (i % 2)))) % SmallCase.Vocabulary)], new bool[12]))];

    private static LanguageModelTrainer Open(string folder, Func<LanguageModelOptions, LanguageModelOptions>? change = null)
    {
        LanguageModelOptions options = new() { Config = Config, Schedule = new CosineSchedule(3e-2, 3, 80), Steps = 9, CheckpointEvery = 4, MicroBatchTokens = 100, MicroBatches = 2 };
        return new LanguageModelTrainer(Texts(), folder, change?.Invoke(options) ?? options);
    }
}
