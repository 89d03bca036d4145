using LowLevelSpec.Engine.Backends;
using LowLevelSpec.Engine.Backends.Cuda;
using LowLevelSpec.Engine.Decoding;
using LowLevelSpec.Engine.Drafting;
using LowLevelSpec.Engine.Sampling;
using LowLevelSpec.Engine.Tests.Backends;
using LowLevelSpec.Engine.Tests.Backends.Cuda;
using LowLevelSpec.Interop.Cuda;
using LowLevelSpec.Models;
using Xunit;

namespace LowLevelSpec.Engine.Tests.Decoding;

/// <summary>Prompts multiplied by cuBLAS: by the emulated device's own, or the system's on a GPU.</summary>
[Collection(nameof(CudaFactory))]
public sealed class CudaPrefillTests
{
    private static readonly TreeSettings Small = new(4, 2, 5);

    [Theory]
    [InlineData("moa", 0)]
    [InlineData("moa", 0.8)]
    [InlineData("eagle", 0)]
    [InlineData("independent", 0)]
    [InlineData("lookup", 0)]
    public void Speculative_tokens_are_the_plain_ones(string name, float temperature)
    {
        using LanguageModel model = Open(PrefillProducts.Cublas);
        using Drafter drafter = TinyModels.Instance.Open(name, model);
        GenerationRequest request = new()
        {
            // More than one pass of prefill.
            PromptIds = [.. Enumerable.Range(0, Generation.ChunkRows + 9).Select(i => 5 + (i * 37 % 600))],
            MaxNewTokens = 8,
            IgnoreEndTokens = true,
            Sampling = new SamplingOptions { Temperature = temperature, Seed = 4 },
        };
        Assert.Equal(model.Generate(request).OutputIds, model.Generate(request with { Drafter = drafter, Tree = Small }).OutputIds);
    }

    [Theory]
    [InlineData(PrefillProducts.Kernels, false)]
    [InlineData(PrefillProducts.Cublas, true)]
    [InlineData(PrefillProducts.Auto, true)]
    public void Prompts_alone_go_by_cublas(PrefillProducts prefill, bool expected)
    {
        using LanguageModel model = Open(prefill);
        Assert.SkipUnless(CudaFactory.Device == "emulated", "only the emulated device counts");
        NativeCudaDriver driver = CudaDriver.Open(emulated: true);
        using Drafter drafter = TinyModels.Instance.Open("moa", model);
        using Generation generation = model.Begin(new GenerationRequest { PromptIds = [7, 8, 9], MaxNewTokens = 8, IgnoreEndTokens = true, Drafter = drafter, Tree = Small });
        long before = driver.Counts().CublasProducts;
        generation.Prefill(CancellationToken.None);
        long prefilled = driver.Counts().CublasProducts;
        generation.Step();
        generation.Step();
        Assert.Equal(expected, prefilled > before);
        Assert.Equal(prefilled, driver.Counts().CublasProducts);
        Assert.Equal(expected, model.BackendName.Contains("cuBLAS", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData(1, 8, 40, false)]
    [InlineData(5, 18, 37, true)]
    [InlineData(130, 33, 64, false)]
    public void Products_match_f64(int rows, int outputs, int columns, bool accumulate)
    {
        CudaFactory.RequireCublas();
        using Bench bench = new(CudaDevices.Open(CudaFactory.Device, PrefillProducts.Cublas)!);
        (Weight weight, float[] w) = bench.Weight(TensorType.BF16, outputs, columns, 1);
        float[] x = Bench.Values(rows * columns, 2), old = Bench.Values(rows * outputs, 3);
        Matrix input = bench.Matrix(rows, columns, x), output = bench.Matrix(rows, outputs, old);
        bench.Backend.Prefill(() => bench.Backend.MatMul(weight, input, output, accumulate: accumulate));
        float[] actual = bench.Read(output);
        for (int r = 0; r < rows; r++)
        {
            for (int o = 0; o < outputs; o++)
            {
                double expected = accumulate ? old[(r * outputs) + o] : 0, size = Math.Abs(expected);
                for (int i = 0; i < columns; i++)
                {
                    double term = (double)w[(o * columns) + i] * x[(r * columns) + i];
                    expected += term;
                    size += Math.Abs(term);
                }

                // Two bf16 parts lack 2^-17 of an input; the rest are roundings of f32 sums, one a term at most in each of two products.
                double most = size * (Math.Pow(2, -17) + (2 * (columns + 2) * Math.Pow(2, -23)));
                Assert.True(Math.Abs(actual[(r * outputs) + o] - expected) <= most, $"[{r}, {o}] is {actual[(r * outputs) + o]}, expected {expected} up to {most}");
            }
        }
    }

    [Theory]
    [InlineData(TensorType.BF16, true)]
    [InlineData(TensorType.Q8_0, false)]
    [InlineData(TensorType.F32, false)]
    public void Other_weights_and_biases_stay_with_the_kernels(TensorType type, bool hasBias)
    {
        CudaFactory.RequireCublas();
        using Bench bench = new(CudaDevices.Open(CudaFactory.Device, PrefillProducts.Cublas)!);
        (Weight weight, _) = bench.Weight(type, 18, 64, 1);
        Weight? bias = hasBias ? bench.Vector(Bench.Values(18, 4)) : null;
        Matrix input = bench.Random(5, 64, 2), prompt = bench.Matrix(5, 18), decoding = bench.Matrix(5, 18);
        bench.Backend.Prefill(() => bench.Backend.MatMul(weight, input, prompt, bias));
        bench.Backend.MatMul(weight, input, decoding, bias);
        Assert.Equal(bench.Read(decoding), bench.Read(prompt));
    }

    [Fact]
    public void The_cpu_has_no_cublas()
    {
        string path = TinyModels.Instance.Path_("target");
        InputException failure = Assert.Throws<InputException>(() => LanguageModel.Open(path, new EngineOptions { Prefill = PrefillProducts.Cublas }));
        Assert.Contains("--device cuda", failure.Message, StringComparison.Ordinal);
        LanguageModel.Open(path, new EngineOptions { Prefill = PrefillProducts.Auto }).Dispose();
    }

    private static LanguageModel Open(PrefillProducts prefill)
    {
        CudaFactory.RequireCublas();
        return LanguageModel.Open(TinyModels.Instance.Path_("target"), new EngineOptions { Device = CudaFactory.Device, Prefill = prefill });
    }
}
