using Xunit;

namespace LowLevelSpec.Models.Tests.Files;

public class GgufRequantizerTests
{
    [Theory]
    [InlineData(TensorType.F16)]
    [InlineData(TensorType.Q8_0)]
    [InlineData(TensorType.Q4_0)]
    public void Matrices_change_their_type_and_nothing_else_changes(TensorType type)
    {
        using TempFolder folder = new();
        float[] matrix = [.. Enumerable.Range(0, 3 * 64).Select(static i => MathF.Sin(i))], norm = [.. Enumerable.Range(0, 64).Select(static i => 1 + (i / 100f))];
        Write(folder["a.gguf"], matrix, norm, 64);
        GgufRequantizer.Write(folder["a.gguf"], type, folder["b.gguf"]);
        using GgufFile file = GgufFile.Open(folder["b.gguf"]);
        Assert.Equal(["m", "norm"], file.AllTensors.Select(static t => t.Name));
        Assert.Equal(type, file.Get("m").Type);
        Assert.Equal([3L, 64L], file.Get("m").Shape);
        byte[] expected = Quantizer.Quantize(type, matrix);
        unsafe
        {
            Assert.Equal(expected, new ReadOnlySpan<byte>((void*)file.Get("m").Data, expected.Length).ToArray());
        }

        Assert.Equal(TensorType.F32, file.Get("norm").Type);
        Assert.Equal(norm, Dequantizer.All(file.Get("norm")));
        Assert.Equal("llama", file.Metadata["general.architecture"]);
        Assert.Equal(new[] { "a", "b" }, file.Metadata["tokenizer.ggml.tokens"]);
        Assert.NotEqual(0u, file.Metadata["general.file_type"]);
    }

    [Theory]
    [InlineData(TensorType.F16)]
    [InlineData(TensorType.F32)]
    public void Large_tensors_are_written_piece_by_piece(TensorType type)
    {
        // 12 and 24 MB where pieces have 8 MB; rows of 6,016 bytes do not divide it.
        const int Rows = 2000, Columns = 3008;
        using TempFolder folder = new();
        float[] matrix = [.. Enumerable.Range(0, Rows * Columns).Select(static i => (i % 2039) / 64f)];
        Write(folder["a.gguf"], matrix, new float[64], Columns);
        GgufRequantizer.Write(folder["a.gguf"], type, folder["b.gguf"]);
        using GgufFile file = GgufFile.Open(folder["b.gguf"]);
        Assert.True(Dequantizer.All(file.Get("m")).AsSpan().SequenceEqual(matrix.AsSpan()), "the matrix differs");
        Assert.Equal(new float[64], Dequantizer.All(file.Get("norm")));
    }

    [Fact]
    public void A_cancelled_rewrite_leaves_nothing()
    {
        using TempFolder folder = new();
        Write(folder["a.gguf"], new float[3 * 64], new float[64], 64);
        Assert.Throws<OperationCanceledException>(() => GgufRequantizer.Write(folder["a.gguf"], TensorType.Q8_0, folder["b.gguf"], new CancellationToken(canceled: true)));
        Assert.Equal([folder["a.gguf"]], Directory.GetFiles(Path.GetDirectoryName(folder["a.gguf"])!));
    }

    [Fact]
    public void Rows_that_are_no_whole_blocks_are_refused()
    {
        using TempFolder folder = new();
        Write(folder["a.gguf"], new float[3 * 64], new float[64], 64);
        ModelFileException e = Assert.Throws<ModelFileException>(() => GgufRequantizer.Write(folder["a.gguf"], TensorType.Q4_K, folder["b.gguf"]));
        Assert.Contains("rows of 64 elements", e.Message);
        Assert.False(File.Exists(folder["b.gguf"]));
    }

    private static void Write(string path, float[] matrix, float[] norm, int columns)
    {
        GgufWriter writer = new();
        writer.Set("general.architecture", "llama");
        writer.Set("general.file_type", 0u);
        writer.Set("tokenizer.ggml.tokens", new[] { "a", "b" });
        writer.Add("m", TensorType.F32, [matrix.Length / columns, columns], matrix);
        writer.Add("norm", TensorType.F32, [norm.Length], norm);
        writer.Write(path);
    }
}
