using LowLevelSpec.Models;
using LowLevelSpec.Training.Data;
using LowLevelSpec.Training.Drafters;
using LowLevelSpec.Training.Losses;
using LowLevelSpec.Training.Optimisation;
using Xunit;

namespace LowLevelSpec.Training.Tests;

/// <summary>States from the cache train like states computed anew.</summary>
public sealed class StateCacheTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("llspec-").FullName;

    public StateCacheTests() => SmallCase.Write(TargetFolder, biases: false);

    private string TargetFolder => Directory.CreateDirectory(Path.Combine(_folder, "target")).FullName;

    private string Cache => Path.Combine(_folder, "cache");

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    public void Cold_warm_and_resumed_caches_give_the_same_bits(int targetLayers)
    {
        // 12 steps are some three epochs, so the first training reads its own states, too.
        IReadOnlyList<StepLog> cold = Train("cold", targetLayers, 12), warm = Train("warm", targetLayers, 12);
        Assert.Equal(cold, warm);
        foreach (int steps in (int[])[5, 12])
        {
            Directory.Delete(Cache, recursive: true);
            _ = Train("resumed", targetLayers, steps);
        }

        Assert.Equal(cold, TrainingLogs.Read(Path.Combine(_folder, "resumed")).Steps);
        foreach (string other in (string[])["warm", "resumed"])
        {
            Assert.Equal(File.ReadAllBytes(Path.Combine(_folder, "cold", "checkpoint.safetensors")), File.ReadAllBytes(Path.Combine(_folder, other, "checkpoint.safetensors")));
        }
    }

    /// <summary>One cache for several N: each sees what its own would hold.</summary>
    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    public void A_shared_cache_serves_every_n_that_it_was_made_for(int targetLayers)
    {
        IReadOnlyList<StepLog> own = Train("own", targetLayers, 12);
        Directory.Delete(Cache, recursive: true);
        foreach (int first in (int[])[0, 2, 1])
        {
            _ = Train($"other{first}", first, 3, served: [2, 1]);
        }

        Assert.Equal(own, Train("shared", targetLayers, 12, served: [1, 2]));
        Assert.Contains("delete", Assert.Throws<InputException>(() => Train("third", 0, 1, served: [1])).Message);
        Directory.Delete(Cache, recursive: true);
        Assert.Contains("layers", Assert.Throws<InputException>(() => Train("fourth", 0, 1, served: [99])).Message);
    }

    [Fact]
    public void Rounded_states_train_nearly_like_exact_ones()
    {
        IReadOnlyList<StepLog> exact = Train("exact", 0, 4, cached: false), rounded = Train("rounded", 0, 4);

        // bf16 keeps 8 bits: 2^-9 per element of states of size one.
        Assert.NotEqual(exact, rounded);
        Assert.All(exact.Zip(rounded), static pair => Assert.Equal(pair.First.Loss, pair.Second.Loss, 0.02));
    }

    [Fact]
    public void States_are_read_while_the_batch_before_is_trained_on()
    {
        const int Steps = 12;
        _ = Train("cold", 0, Steps);
        using Trainer warm = Open("warm", 0, Steps, cached: true);
        warm.Run();

        // All but the first, which nothing came before.
        Assert.Equal(Steps - 1, warm.BatchesReadAhead);
    }

    [Fact]
    public void Another_target_layer_or_other_texts_are_refused()
    {
        _ = Train("first", 0, 1);
        Assert.Contains("delete", Assert.Throws<InputException>(() => Train("second", 1, 1)).Message);
        using (Trainer open = Open("third", 0, 1, cached: true))
        {
            Assert.Contains("another training", Assert.Throws<InputException>(() => Open("fourth", 0, 1, cached: true)).Message);
            Assert.Contains("bytes", open.CacheSize);
        }

        Directory.Delete(Path.Combine(_folder, "third"), recursive: true);
        Assert.Throws<InputException>(() => new Trainer(TargetFolder, Texts(29), Path.Combine(_folder, "third"), Options(0, 1, cached: true)));
    }

    private IReadOnlyList<StepLog> Train(string name, int targetLayers, int steps, bool cached = true, int[]? served = null)
    {
        List<StepLog> log = [];
        using Trainer trainer = Open(name, targetLayers, steps, cached, served);
        trainer.Run(log.Add);
        return log;
    }

    private Trainer Open(string name, int targetLayers, int steps, bool cached, int[]? served = null) =>
        new(TargetFolder, Texts(30), Path.Combine(_folder, name), Options(targetLayers, steps, cached) with { CacheLayers = served ?? [] });

    private TrainerOptions Options(int targetLayers, int steps, bool cached) => new()
    {
        Drafter = new MoaPlan(new MoaSizes(1, 6, 3, 7, 1, 9), targetLayers),
        Loss = LossWeights.Kl(targetLayers),
        Schedule = new PeakSchedule(1e-3, 3, 200),
        Steps = steps,
        CheckpointEvery = 4,
        MicroBatchTokens = 120,
        CacheFolder = cached ? Cache : null,
    };

    private static List<TrainingSequence> Texts(int count)
    {
        Random random = new(5);
        return [.. Enumerable.Range(0, count).Select(_ =>
        {
            int length = random.Next(8, 24);
            return new TrainingSequence([.. Enumerable.Range(0, length).Select(_ => random.Next(SmallCase.Vocabulary))], [.. Enumerable.Range(0, length).Select(static i => i >= 3)]);
        })];
    }
}
