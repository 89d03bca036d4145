using System.Text.Json.Nodes;
using LowLevelSpec.Engine.Decoding;
using LowLevelSpec.Engine.Drafting;
using LowLevelSpec.Engine.Sampling;
using LowLevelSpec.Models;
using Xunit;

namespace LowLevelSpec.Engine.Tests.Decoding;

/// <summary>What a request may ask for, how it ends, and what is refused before anything runs.</summary>
public sealed class RequestTests
{
    private static readonly TinyModels Tiny = TinyModels.Instance;
    private static readonly GenerationRequest Good = new() { PromptIds = [5, 6, 7], MaxNewTokens = 8 };

    public static TheoryData<string, Func<GenerationRequest>> Bad => new()
    {
        { "exactly one", static () => new() },
        { "exactly one", static () => Good with { Prompt = "also text" } },
        { "empty", static () => Good with { PromptIds = [] } },
        { "empty", static () => new() { Prompt = "" } },
        { "prompt id 1", static () => Good with { PromptIds = [1, 640] } },
        { "prompt id 0", static () => Good with { PromptIds = [-1] } },
        { "prompt id 2", static () => Good with { PromptIds = [1, 2, int.MaxValue] } },
        { "max new tokens", static () => Good with { MaxNewTokens = 0 } },
        { "max new tokens", static () => Good with { MaxNewTokens = int.MinValue } },
        { "context", static () => Good with { PromptIds = new int[1024] } },
        { "context", static () => Good with { PromptIds = new int[5000] } },
        { "stop token", static () => Good with { StopTokens = [640] } },
        { "stop string", static () => Good with { StopStrings = ["ok", ""] } },
        { "depth", static () => Good with { Tree = new(1, 4, 20) } },
        { "depth", static () => Good with { Tree = new(33, 4, 20) } },
        { "breadth", static () => Good with { Tree = new(4, 0, 20) } },
        { "breadth", static () => Good with { Tree = new(4, 99, 20) } },
        { "total", static () => Good with { Tree = new(4, 4, 64) } },
        { "total", static () => Good with { Tree = new(4, 4, -3) } },
        { "temperature", static () => Good with { Sampling = new() { Temperature = -1 } } },
        { "temperature", static () => Good with { Sampling = new() { Temperature = float.NaN } } },
        { "top-k", static () => Good with { Sampling = new() { TopK = -5 } } },
        { "top-p", static () => Good with { Sampling = new() { TopP = 0 } } },
        { "top-p", static () => Good with { Sampling = new() { TopP = 1.5f } } },
        { "min-p", static () => Good with { Sampling = new() { MinP = 2 } } },
        { "repetition", static () => Good with { Sampling = new() { RepetitionPenalty = 0 } } },
        { "frequency", static () => Good with { Sampling = new() { FrequencyPenalty = float.PositiveInfinity } } },
        { "presence", static () => Good with { Sampling = new() { PresencePenalty = float.NaN } } },
    };

    [Theory]
    [MemberData(nameof(Bad), DisableDiscoveryEnumeration = true)]
    public void Unusable_requests_are_refused_in_one_sentence(string mentions, Func<GenerationRequest> request)
    {
        InputException e = Assert.Throws<InputException>(() => Tiny.Model.Generate(request()));
        Assert.Contains(mentions, e.Message, StringComparison.OrdinalIgnoreCase);
        Assert.DoesNotContain('\n', e.Message);
        Assert.Throws<InputException>(() => Tiny.Model.GenerateAsync(request()));
    }

    [Fact]
    public void The_context_ends_a_text_with_length()
    {
        int[] prompt = [.. Enumerable.Range(0, 1000).Select(static i => i % 600)];
        using Drafter drafter = Tiny.Open("moa");
        GenerationResult result = Tiny.Model.Generate(new() { PromptIds = prompt, MaxNewTokens = int.MaxValue, Drafter = drafter, IgnoreEndTokens = true });
        Assert.Equal(24, result.OutputIds.Count);
        Assert.Equal(FinishReason.Length, result.FinishReason);
        using LanguageModel small = LanguageModel.Open(Tiny.Path_("target"), new EngineOptions { Threads = 1, ContextLength = 20 });
        Assert.Equal(17, small.Generate(Good with { MaxNewTokens = 100, IgnoreEndTokens = true }).OutputIds.Count);
    }

    [Fact]
    public void Beyond_its_trained_length_a_drafter_falls_silent_and_the_text_goes_on()
    {
        GenerationRequest request = Good with { MaxNewTokens = 100, IgnoreEndTokens = true };
        IReadOnlyList<int> plain = Tiny.Model.Generate(request).OutputIds;
        foreach (string name in new[] { "moa", "eagle", "independent", "lookup" })
        {
            using Drafter drafter = Tiny.Model.OpenDrafter(name == "lookup" ? name : Tiny.Path_(name), new DrafterOptions { MaxPosition = 40 });
            GenerationResult result = Tiny.Model.Generate(request with { Drafter = drafter });
            Assert.Equal(plain, result.OutputIds);
            Assert.InRange(result.Statistics.TargetPasses, 60, 100);
            Assert.All(result.Statistics.Accepted.TakeLast(50), static a => Assert.Equal(0, a));
        }
    }

    /// <summary>Where the text has to end is worked out from the text that nothing stops, not from another stopped one.</summary>
    [Theory]
    [InlineData("none")]
    [InlineData("moa")]
    [InlineData("eagle")]
    public void A_stop_string_ends_the_text_at_the_token_that_completes_it(string name)
    {
        using Drafter drafter = Tiny.Open(name);
        GenerationRequest request = new() { Prompt = "The drafter", MaxNewTokens = 80, IgnoreEndTokens = true, Drafter = drafter };
        GenerationResult free = Tiny.Model.Generate(request);
        for (int at = 1; at < 50; at += 5)
        {
            string stop = free.Text!.Substring(free.Text.Length * at / 80, 3);
            int end = Enumerable.Range(1, 80).First(n => Tiny.Model.Tokenizer!.Decode([.. free.OutputIds.Take(n)], skipSpecial: true).Contains(stop, StringComparison.Ordinal));
            GenerationResult stopped = Tiny.Model.Generate(request with { StopStrings = ["never in it", stop, "nor this"] });
            Assert.Equal(free.OutputIds.Take(end), stopped.OutputIds);
            Assert.Equal(free.Text[..free.Text.IndexOf(stop, StringComparison.Ordinal)], stopped.Text);
        }
    }

    [Fact]
    public void What_was_held_back_for_a_stop_string_is_given_out_at_the_end()
    {
        GenerationRequest request = new() { Prompt = "The drafter", MaxNewTokens = 30, IgnoreEndTokens = true };
        string free = Tiny.Model.Generate(request).Text!;
        Assert.Equal(free, Tiny.Model.Generate(request with { StopStrings = [free[^4..] + "\u0001"] }).Text);
    }

    [Theory]
    [InlineData("none")]
    [InlineData("moa")]
    public void A_stop_at_the_last_allowed_token_is_a_stop(string name)
    {
        using Drafter drafter = Tiny.Open(name);
        GenerationRequest request = new() { Prompt = "The drafter", MaxNewTokens = 60, IgnoreEndTokens = true, Drafter = drafter };
        IReadOnlyList<int> free = Tiny.Model.Generate(request).OutputIds;
        for (int at = 0; at < 20; at++)
        {
            int first = free.Index().First(t => t.Item == free[at]).Index;
            GenerationResult last = Tiny.Model.Generate(request with { StopTokens = [free[at]], MaxNewTokens = first + 1 });
            Assert.Equal((FinishReason.Stop, first + 1), (last.FinishReason, last.OutputIds.Count));
        }
    }

    [Theory]
    [InlineData("none")]
    [InlineData("moa")]
    public void Any_of_the_models_end_tokens_and_the_requests_stop_tokens_ends_the_text(string name)
    {
        GenerationRequest request = new() { Prompt = "The drafter", MaxNewTokens = 60 };
        IReadOnlyList<int> free = Tiny.Model.Generate(request with { IgnoreEndTokens = true }).OutputIds;
        int[] different = [.. free.Distinct().Skip(1).Take(4)];
        foreach (int[] at in new[] { new[] { 0, 1, 2, 3 }, [1, 0, 3, 2], [2, 3, 0, 1], [3, 2, 1, 0] })
        {
            string folder = Path.Combine(Tiny.Folder, "ends-" + Guid.NewGuid().ToString("N"));
            Directory.CreateDirectory(folder);
            foreach (string file in Directory.GetFiles(Tiny.Path_("target")))
            {
                File.Copy(file, Path.Combine(folder, Path.GetFileName(file)));
            }

            JsonNode json = JsonNode.Parse(File.ReadAllText(Path.Combine(folder, "config.json")))!;
            json["eos_token_id"] = new JsonArray(different[at[0]], different[at[1]]);
            File.WriteAllText(Path.Combine(folder, "config.json"), json.ToJsonString());
            using LanguageModel model = LanguageModel.Open(folder, new EngineOptions { Threads = 1 });
            using Drafter drafter = Tiny.Open(name, model);
            int[] ends = [.. at.Select(i => different[i])];
            int length = free.TakeWhile(t => !ends.Contains(t)).Count() + 1, withoutModels = free.TakeWhile(t => !ends.Skip(2).Contains(t)).Count() + 1;
            request = request with { Drafter = drafter, StopTokens = [.. ends.Skip(2)] };
            Assert.Equal(free.Take(length), model.Generate(request).OutputIds);
            Assert.Equal(free.Take(withoutModels), model.Generate(request with { IgnoreEndTokens = true }).OutputIds);
            request = request with { Drafter = null };
        }
    }

    [Fact]
    public async Task Streaming_gives_the_text_in_pieces()
    {
        using Drafter drafter = Tiny.Open("moa");
        GenerationRequest request = new() { Prompt = "The drafter sees", MaxNewTokens = 50, Drafter = drafter };
        GenerationResult whole = Tiny.Model.Generate(request);
        GenerationStream stream = Tiny.Model.GenerateAsync(request, TestContext.Current.CancellationToken);
        string text = "";
        List<int> ids = [];
        await foreach (GenerationChunk chunk in stream)
        {
            text += chunk.Text;
            ids.AddRange(chunk.Tokens.ToArray());
            Assert.InRange(chunk.Accepted, 0, chunk.Tokens.Length);
        }

        Assert.Equal(whole.Text, text);
        Assert.Equal(whole.OutputIds, ids);
        Assert.Equal(whole.OutputIds, stream.Result!.OutputIds);
        await Assert.ThrowsAsync<InvalidOperationException>(async () =>
        {
            await foreach (GenerationChunk _ in stream)
            {
            }
        });
    }

    [Fact]
    public async Task Cancelling_and_breaking_off_stop_the_work()
    {
        GenerationRequest request = Good with { MaxNewTokens = 900, IgnoreEndTokens = true };
        using CancellationTokenSource cancel = new();
        GenerationStream stream = Tiny.Model.GenerateAsync(request, cancel.Token);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(async () =>
        {
            await foreach (GenerationChunk _ in stream)
            {
                await cancel.CancelAsync();
            }
        });
        Assert.Equal(FinishReason.Cancelled, stream.Result!.FinishReason);
        Assert.InRange(stream.Result.OutputIds.Count, 1, 899);

        GenerationStream broken = Tiny.Model.GenerateAsync(request, TestContext.Current.CancellationToken);
        await foreach (GenerationChunk _ in broken)
        {
            break;
        }

        Assert.Equal(FinishReason.Cancelled, broken.Result!.FinishReason);
        Assert.Throws<OperationCanceledException>(() => Tiny.Model.Generate(request, new CancellationToken(canceled: true)));
    }

    [Fact]
    public async Task A_cancelled_text_is_that_of_its_tokens()
    {
        // A stop string that begins as the text does: all of it is held back until the end.
        GenerationRequest request = Good with { MaxNewTokens = 900, IgnoreEndTokens = true };
        GenerationResult some = Tiny.Model.Generate(request);
        using CancellationTokenSource cancel = new();
        GenerationStream stream = Tiny.Model.GenerateAsync(request with { StopStrings = [some.Text + "¤"] }, cancel.Token);
        List<string> given = [];
        await Assert.ThrowsAnyAsync<OperationCanceledException>(async () =>
        {
            await foreach (GenerationChunk chunk in stream)
            {
                given.Add(chunk.Text);
                await cancel.CancelAsync();
            }
        });
        GenerationResult result = stream.Result!;
        Assert.Equal("", given[0]);
        Assert.Equal(FinishReason.Cancelled, result.FinishReason);
        Assert.InRange(result.OutputIds.Count, 1, 899);
        Assert.Equal(Tiny.Model.Generate(request with { MaxNewTokens = result.OutputIds.Count }).Text, result.Text);
    }

    [Fact]
    public async Task Disposing_under_a_running_generation_lets_it_finish()
    {
        LanguageModel model = LanguageModel.Open(Tiny.Path_("target"), new EngineOptions { Threads = 1 });
        Drafter drafter = model.OpenDrafter(Tiny.Path_("moa"));
        GenerationRequest request = Good with { MaxNewTokens = 60, IgnoreEndTokens = true };
        IReadOnlyList<int> expected = model.Generate(request).OutputIds;
        GenerationStream stream = model.GenerateAsync(request with { Drafter = drafter }, TestContext.Current.CancellationToken);
        bool disposed = false;
        await foreach (GenerationChunk _ in stream)
        {
            if (!disposed)
            {
                drafter.Dispose();
                model.Dispose();
                disposed = true;
            }
        }

        Assert.Equal(expected, stream.Result!.OutputIds);
        Assert.Throws<ObjectDisposedException>(() => model.Generate(request));
        model.Dispose();
    }

    [Fact]
    public void A_drafter_belongs_to_its_model()
    {
        using LanguageModel other = LanguageModel.Open(Tiny.Path_("target"), new EngineOptions { Threads = 1 });
        using Drafter drafter = other.OpenDrafter("lookup");
        Assert.Contains("another model", Assert.Throws<InputException>(() => Tiny.Model.Generate(Good with { Drafter = drafter })).Message);
    }
}
