using System.Text;
using LowLevelSpec.Engine;
using LowLevelSpec.Engine.Decoding;
using LowLevelSpec.Models;
using LowLevelSpec.Remote.Client;
using LowLevelSpec.Remote.Server;
using Xunit;

namespace LowLevelSpec.Remote.Tests;

public sealed class ClientPackTests : IClassFixture<ClientPackTests.Pair>
{
    private static readonly ClientPackIdentity Identity = new(new string('a', 64), new string('b', 64), new string('0', 64));
    private readonly string _folder;

    public ClientPackTests(Pair pair) => _folder = pair.Folder;

    private string Pack => Path.Combine(_folder, "client.gguf");

    [Fact]
    public void A_pack_gives_back_what_went_in_without_what_only_the_server_runs()
    {
        IReadOnlyList<ClientPackPart> parts = Write("moa", new ClientPackOptions { Type = TensorType.BF16 });
        using ModelFile target = ModelFile.Open(Path.Combine(_folder, "target"));
        using ClientPack pack = ClientPack.Open(Pack);
        Assert.Equal(Identity, pack.Identity);
        Assert.Equal(target.Tensors.Config.EndTokens, pack.Target.Config.EndTokens);
        Assert.Equal(target.Tensors.Config with { EndTokens = [] }, pack.Target.Config with { EndTokens = [] });
        Assert.Equal(Dequantizer.All(target.Tensors.Embedding), Dequantizer.All(pack.Target.Embedding));
        Assert.Equal(Dequantizer.All(target.Tensors.LmHead), Dequantizer.All(pack.Target.LmHead));
        Assert.Null(pack.DraftTokens);
        Assert.Equal(DrafterKind.Moa, pack.Drafter.Kind);
        Assert.Null(pack.Drafter.Moa!.LayerSelfAttention);
        using DrafterFile drafter = DrafterFile.Open(Path.Combine(_folder, "moa"), target.Tensors.Config);
        Assert.Equal(Dequantizer.All(drafter.Moa!.CrossAttention.Query), Dequantizer.All(pack.Drafter.Moa.CrossAttention.Query));
        Assert.DoesNotContain(parts, static p => p.Name.StartsWith("layer_self_attention", StringComparison.Ordinal));
        Assert.Equal(pack.Drafter.TensorCount, parts.Count);
        const string Text = "The drafter proposes, the target decides.";
        Assert.Equal(Tokenizer.Open(Path.Combine(_folder, "target"))!.Encode(Text), pack.Tokenizer.Encode(Text));
        Assert.True(ClientPack.IsPack(Pack));
    }

    [Theory]
    [InlineData(TensorType.Q8_0, 0.01)]
    [InlineData(TensorType.Q4_0, 0.15)]
    public void Quantised_matrices_lie_near_the_originals(TensorType type, double relative)
    {
        IReadOnlyList<ClientPackPart> parts = Write("eagle", new ClientPackOptions { Type = type });
        using ModelFile target = ModelFile.Open(Path.Combine(_folder, "target"));
        using ClientPack pack = ClientPack.Open(Pack);
        Assert.Equal(DrafterKind.Eagle, pack.Drafter.Kind);
        float[] exact = Dequantizer.All(target.Tensors.Embedding), stored = Dequantizer.All(pack.Target.Embedding);
        double norm = Math.Sqrt(exact.Sum(static x => (double)x * x));
        Assert.True(Math.Sqrt(exact.Zip(stored, static (a, b) => (double)(a - b) * (a - b)).Sum()) < relative * norm);
        Assert.All(parts, part => Assert.Equal(part.Shape.Count > 1 ? type : TensorType.BF16, part.Type));
    }

    /// <summary>The drafter's own table becomes the pack's, in order of ids; its tensor stays behind.</summary>
    [Fact]
    public unsafe void A_drafters_own_table_trims_the_head()
    {
        string folder = Directory.CreateDirectory(Path.Combine(_folder, "trimmed")).FullName;
        File.Copy(Path.Combine(_folder, "moa", "config.json"), Path.Combine(folder, "config.json"), overwrite: true);
        using (SafetensorsFile file = SafetensorsFile.Open(Path.Combine(_folder, "moa", "model.safetensors")))
        {
            SafetensorsWriter writer = new();
            foreach (TensorInfo info in file.AllTensors)
            {
                TensorView view = file.Get(info.Name);
                writer.Add(info.Name, view.Type, view.Shape, new ReadOnlySpan<byte>((void*)view.Data, (int)view.ByteLength).ToArray());
            }

            writer.Add(DraftVocabulary.TensorName, [3], [300L, 5, 17]);
            writer.Write(Path.Combine(folder, "model.safetensors"));
        }

        Write("trimmed", new ClientPackOptions { Type = TensorType.BF16 });
        using ModelFile target = ModelFile.Open(Path.Combine(_folder, "target"));
        using ClientPack pack = ClientPack.Open(Pack);
        Assert.Equal([5, 17, 300], pack.DraftTokens);
        float[] row = new float[target.Tensors.Config.HiddenSize], original = new float[row.Length];
        Dequantizer.Row(pack.Target.LmHead, 2, row);
        Dequantizer.Row(target.Tensors.LmHead, 300, original);
        Assert.Equal(original, row);
    }

    [Fact]
    public void A_trimmed_head_holds_the_rows_of_its_tokens()
    {
        using ModelFile target = ModelFile.Open(Path.Combine(_folder, "target"));
        LlamaConfig config = target.Tensors.Config;
        long[] counts = new long[config.VocabularySize];
        (counts[17], counts[300]) = (5, 9);
        IReadOnlyList<int> tokens = ClientPackWriter.ChooseDraftTokens(4, config, counts)!;
        Assert.Equal([0], config.EndTokens);
        Assert.Equal([0, 1, 17, 300], tokens);
        Write("moa", new ClientPackOptions { Type = TensorType.BF16, DraftTokens = tokens });
        using ClientPack pack = ClientPack.Open(Pack);
        Assert.Equal(tokens, pack.DraftTokens);
        Assert.Equal(tokens.Count, pack.Target.LmHead.Rows);
        float[] row = new float[config.HiddenSize], original = new float[config.HiddenSize];
        for (int i = 0; i < tokens.Count; i++)
        {
            Dequantizer.Row(pack.Target.LmHead, i, row);
            Dequantizer.Row(target.Tensors.LmHead, tokens[i], original);
            Assert.Equal(original, row);
        }

        Assert.Null(ClientPackWriter.ChooseDraftTokens(config.VocabularySize, config, []));
    }

    [Theory]
    [InlineData("moa", TensorType.BF16, 0)]
    [InlineData("moa", TensorType.Q4_0, 0)]
    [InlineData("moa", TensorType.Q8_0, 500)]
    [InlineData("eagle", TensorType.BF16, 500)]
    public async Task A_device_with_a_pack_writes_the_targets_text(string drafter, TensorType type, int vocabulary)
    {
        using ServedModel served = ServedModel.Open(Path.Combine(_folder, "target"), Path.Combine(_folder, "moa"));
        ModelIdentity identity = ModelIdentity.Of(Path.Combine(_folder, "target"), Path.Combine(_folder, drafter));
        Write(drafter, new ClientPackOptions { Type = type, DraftTokens = vocabulary == 0 ? null : ClientPackWriter.ChooseDraftTokens(vocabulary, served.Model.Config, []) }, new ClientPackIdentity(identity.Target, identity.Tokenizer, identity.Drafter));
        await using TargetServer server = await TargetServer.StartAsync(served, new ServerOptions());
        using ClientModel packed = ClientModel.OpenPack(Pack), whole = ClientModel.Open(Path.Combine(_folder, "target"), Path.Combine(_folder, drafter));
        GenerationRequest request = new() { Prompt = "When the link is cut", MaxNewTokens = 40, IgnoreEndTokens = true };
        RemoteOptions options = new() { Server = server.Address, Adaptive = false };
        RemoteResult result = await new RemoteGenerator(packed, options).RunAsync(request), reference = await new RemoteGenerator(whole, options).RunAsync(request);
        Assert.Equal(served.Model.Generate(request).OutputIds, result.OutputIds);
        Assert.True(result.Statistics.Tau > 1, $"tau {result.Statistics.Tau}");
        if (type == TensorType.BF16 && vocabulary == 0)
        {
            // The same weights draft the same trees.
            Assert.Equal(reference.Statistics.TargetPasses, result.Statistics.TargetPasses);
            Assert.Equal(reference.Statistics.DraftedNodes, result.Statistics.DraftedNodes);
        }
    }

    [Fact]
    public void A_pack_that_does_not_open_replaces_nothing()
    {
        Write("moa", new ClientPackOptions { Type = TensorType.BF16 });
        byte[] before = File.ReadAllBytes(Pack);
        string[] files = Directory.GetFiles(_folder);
        Assert.Contains("hexadecimal", Assert.Throws<InputException>(() => Write("moa", new ClientPackOptions { Type = TensorType.Q8_0 }, Identity with { Target = "no hash" })).Message, StringComparison.Ordinal);
        Assert.Equal(before, File.ReadAllBytes(Pack));
        Assert.Equal(files, Directory.GetFiles(_folder));
    }

    [Fact]
    public void An_independent_drafter_needs_no_pack() =>
        Assert.Contains("independent", Assert.Throws<InputException>(() => Write("independent", new ClientPackOptions())).Message, StringComparison.Ordinal);

    [Fact]
    public void A_model_is_no_pack()
    {
        Assert.False(ClientPack.IsPack(Path.Combine(_folder, "target", "model.safetensors")));
        Assert.False(ClientPack.IsPack(Path.Combine(_folder, "nothing.gguf")));
        GgufWriter writer = new();
        writer.Set("general.architecture", "llama");
        writer.Write(Pack);
        Assert.False(ClientPack.IsPack(Pack));
        Assert.Contains("'llama'", Assert.Throws<ModelFileException>(() => ClientPack.Open(Pack)).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("llspec.client.target_sha256", "hexadecimal")]
    [InlineData("llspec.client.version", "'1'|missing")]
    [InlineData("llspec.client.drafter", "moa")]
    [InlineData("llspec.client.target_config", "text")]
    [InlineData("llspec.client.file.tokenizer.json", "tokenizer")]
    [InlineData("output_norm.weight", "missing")]
    public void A_pack_without_something_is_refused_by_name(string name, string words)
    {
        Write("moa", new ClientPackOptions());

        // The same length under another name: the file stays well-formed.
        byte[] bytes = File.ReadAllBytes(Pack), key = Encoding.UTF8.GetBytes(name);
        int at = bytes.AsSpan().IndexOf([.. BitConverter.GetBytes((ulong)key.Length), .. key]);
        Assert.True(at >= 0);
        bytes[at + 8] = (byte)'x';
        File.WriteAllBytes(Pack, bytes);
        string message = Assert.Throws<ModelFileException>(() => ClientPack.Open(Pack)).Message;
        Assert.Contains(words.Split('|'), word => message.Contains(word, StringComparison.Ordinal));
        Assert.StartsWith(Pack, message, StringComparison.Ordinal);
    }

    [Fact]
    public void Every_prefix_and_any_changed_byte_is_refused_or_harmless()
    {
        Write("moa", new ClientPackOptions { Type = TensorType.Q4_0 });
        byte[] bytes = File.ReadAllBytes(Pack);
        string other = Path.Combine(_folder, "other.gguf");
        Random random = new(9);
        for (int i = 0; i < 150; i++)
        {
            byte[] bad = i % 3 == 0 ? bytes[..random.Next(bytes.Length - 33)] : [.. bytes];
            if (i % 3 != 0)
            {
                // Most of what can go wrong lies in the first kilobytes.
                bad[random.Next(i % 3 == 1 ? 4096 : bad.Length)] = (byte)random.Next(256);
            }

            File.WriteAllBytes(other, bad);
            Exception? thrown = Record.Exception(() => ClientPack.Open(other).Dispose());
            Assert.True(thrown is null or ModelFileException, thrown?.ToString());
            Assert.False(thrown is null && i % 3 == 0, "a prefix was taken for a whole pack");
        }
    }

    private IReadOnlyList<ClientPackPart> Write(string drafterName, ClientPackOptions options, ClientPackIdentity? identity = null)
    {
        using ModelFile target = ModelFile.Open(Path.Combine(_folder, "target"));
        using DrafterFile drafter = DrafterFile.Open(Path.Combine(_folder, drafterName), target.Tensors.Config);
        return ClientPackWriter.Write(Pack, target, drafter, identity ?? Identity, options);
    }

    /// <summary>The generated pair, once for all tests.</summary>
    public sealed class Pair : IDisposable
    {
        public Pair() => TinyPair.Write(Folder, 1);

        public string Folder { get; } = Directory.CreateTempSubdirectory("llspec-pack-").FullName;

        public void Dispose() => Directory.Delete(Folder, recursive: true);
    }
}
