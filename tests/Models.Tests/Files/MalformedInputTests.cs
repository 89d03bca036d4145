using CsCheck;
using Xunit;

namespace LowLevelSpec.Models.Tests.Files;

public class MalformedInputTests
{
    private const long AllocationLimit = 4 << 20;

    public static TheoryData<string> Names { get; } = [.. MalformedCases.All.Keys];

    [Theory]
    [MemberData(nameof(Names))]
    public void Broken_input_is_refused_in_one_sentence(string name)
    {
        (Func<TempFolder, MalformedCases.Input> make, string[] words) = MalformedCases.All[name];
        using TempFolder folder = new();
        MalformedCases.Input input = make(folder);
        long before = GC.GetAllocatedBytesForCurrentThread();
        InputException refusal = Assert.ThrowsAny<InputException>(() => Open(input));
        long allocated = GC.GetAllocatedBytesForCurrentThread() - before;
        Assert.True(allocated < AllocationLimit, $"allocated {allocated} bytes before refusing");
        Assert.DoesNotContain(refusal.Message, char.IsControl);
        Assert.True(refusal.Message.Length < 700 + folder.Path.Length, refusal.Message);
        Assert.StartsWith(Assert.IsType<ModelFileException>(refusal).FilePath, refusal.Message, StringComparison.Ordinal);
        Assert.All(words, word => Assert.Contains(word, refusal.Message.Replace(folder.Path, "", StringComparison.Ordinal), StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("", "empty")]
    [InlineData("a\0b", "'a\\u0000b'")]
    public void A_path_that_names_nothing_is_refused(string path, string word) =>
        Assert.Contains(word, Assert.Throws<InputException>(() => ModelFile.Open(path)).Message, StringComparison.Ordinal);

    [Fact]
    public void Every_prefix_of_a_file_is_refused()
    {
        using TempFolder folder = new();
        TinyCheckpoint tiny = TinyCheckpoint.Target();
        tiny.Save(folder.Path);
        tiny.ToGguf().Write(folder["m.gguf"]);
        foreach (string name in (string[])["model.safetensors", "m.gguf"])
        {
            byte[] bytes = File.ReadAllBytes(folder[name]);
            foreach (int length in Enumerable.Range(0, 200).Concat(Enumerable.Range(1, 40).Select(i => bytes.Length * i / 41)).Append(bytes.Length - 33))
            {
                folder.Write(name, bytes[..length]);
                Assert.Throws<ModelFileException>(() => ModelFile.Open(folder[name]));
            }
        }
    }

    [Fact]
    public void Mutated_safetensors_open_or_are_refused() => Mutate("model.safetensors", static (f, _) => TinyCheckpoint.Target().Save(f.Path));

    [Fact]
    public void Mutated_gguf_open_or_are_refused() => Mutate("m.gguf", static (f, name) => TinyCheckpoint.Target().ToGguf(TensorType.Q8_0).Write(f[name]));

    [Fact]
    public void Mutated_configs_open_or_are_refused() => Mutate("config.json", static (f, _) => TinyCheckpoint.Target().Save(f.Path));

    [Fact]
    public void Mutated_drafters_open_or_are_refused() => Mutate("model.safetensors", static (f, _) => TinyCheckpoint.MoaSpec().Save(f.Path), drafter: true);

    /// <summary>Changes bytes of the part that is parsed (headers come first), sometimes cuts the end off, and opens the result.</summary>
    private static void Mutate(string name, Action<TempFolder, string> make, bool drafter = false)
    {
        using TempFolder folder = new();
        make(folder, name);
        byte[] good = File.ReadAllBytes(folder[name]);
        int parsed = Math.Min(good.Length, 5000);
        Gen<(int At, byte Value)[]> changes = Gen.Select(Gen.OneOf(Gen.Int[0, parsed - 1], Gen.Int[0, 63]), Gen.OneOf(Gen.Byte, Gen.Int[0, 5].Select(static i => (byte)"09\",[\u00FF"[i]))).Array[0, 4];
        Gen.Select(changes, Gen.Frequency((4, Gen.Const(0)), (1, Gen.Int[1, 64]), (1, Gen.Int[1, good.Length - 1]))).Sample(
            (edits, cut) =>
            {
                byte[] bytes = good[..^cut];
                foreach ((int at, byte value) in edits)
                {
                    bytes[at % bytes.Length] = value;
                }

                folder.Write(name, bytes);
                try
                {
                    Open(new MalformedCases.Input(name == "m.gguf" ? folder[name] : folder.Path, drafter));
                }
                catch (ModelFileException e)
                {
                    Assert.DoesNotContain(e.Message, char.IsControl);
                }
            },
            iter: 1500,
            threads: 1);
    }

    /// <summary>Opens and touches the weights, so that a view outside its file would show.</summary>
    private static void Open(MalformedCases.Input input)
    {
        if (input.Drafter)
        {
            using DrafterFile drafter = DrafterFile.Open(input.Path, input.Target ?? TinyCheckpoint.TargetConfig);
            if (drafter.Moa is MoaTensors moa)
            {
                Dequantizer.All(moa.Ekv2E);
                Dequantizer.All(moa.CrossAttention.Down);
            }
        }
        else
        {
            using ModelFile model = ModelFile.Open(input.Path);
            Dequantizer.All(model.Tensors.LmHead);
            Dequantizer.All(model.Tensors.FinalNorm);
            Dequantizer.All(model.Tensors.Layers[^1].Down);
        }
    }
}
