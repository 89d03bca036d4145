using System.Text.Json.Nodes;
using LowLevelSpec.Engine.Backends;
using LowLevelSpec.Engine.Decoding;
using LowLevelSpec.Models;
using Xunit;

namespace LowLevelSpec.Engine.Tests.Decoding;

/// <summary>Llama's <c>attention_bias</c>: q, k, v and o carry biases.</summary>
public sealed class OutputBiasTests
{
    [Fact]
    public void The_output_bias_is_added_to_the_residual_stream()
    {
        string source = Path.Combine(TinyModels.Instance.Folder, "enumerable", "target");
        int hidden = TinyModels.EnumerableSizes.Hidden;
        float[] bias = [.. Enumerable.Range(0, hidden).Select(static i => 0.25f * (i - 11))];
        float[] without = FirstLayer(source, null), with = FirstLayer(source, bias);

        // Without an MLP the first layer's output is x + o(attention) + bias; a different order of the two sums rounds by an ulp of values up to 8.
        for (int i = 0; i < without.Length; i++)
        {
            float expected = without[i] + bias[i % hidden];
            Assert.True(Math.Abs(with[i] - expected) <= 2e-6f, $"element {i}: found {with[i]}, expected {expected}");
        }
    }

    /// <summary>The input of layer 1 for a three-token prompt, from a copy of the model whose MLPs add nothing.</summary>
    private static float[] FirstLayer(string source, float[]? outputBias)
    {
        string folder = Directory.CreateTempSubdirectory("llspec-bias-").FullName;
        try
        {
            JsonNode config = JsonNode.Parse(File.ReadAllText(Path.Combine(source, "config.json")))!;
            config["attention_bias"] = outputBias is not null;
            File.WriteAllText(Path.Combine(folder, "config.json"), config.ToJsonString());
            using (SafetensorsFile file = SafetensorsFile.Open(Path.Combine(source, "model.safetensors")))
            {
                SafetensorsWriter writer = new();
                foreach (TensorView tensor in file.Tensors.Values)
                {
                    float[] values = Dequantizer.All(tensor);
                    if (tensor.Name.EndsWith("down_proj.weight", StringComparison.Ordinal))
                    {
                        Array.Clear(values);
                    }

                    writer.Add(tensor.Name, tensor.Shape, values);
                    if (outputBias is not null && tensor.Name.Contains("self_attn", StringComparison.Ordinal))
                    {
                        bool isOutput = tensor.Name.Contains("o_proj", StringComparison.Ordinal);
                        writer.Add(tensor.Name.Replace(".weight", ".bias", StringComparison.Ordinal), [tensor.Shape[0]], isOutput ? outputBias : new float[tensor.Shape[0]]);
                    }
                }

                writer.Write(Path.Combine(folder, "model.safetensors"));
            }

            using LanguageModel model = LanguageModel.Open(folder, new EngineOptions { Threads = 1 });
            using Generation generation = model.Begin(new() { PromptIds = [1, 2, 3], MaxNewTokens = 1 });
            float[] hidden = [];
            generation.Pass.Trace = (name, value) =>
            {
                if (name == "hidden.1")
                {
                    hidden = new float[value.Rows * value.Columns];
                    model.Backend.Read(value, hidden);
                }
            };
            generation.Prefill(CancellationToken.None);
            return hidden;
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }
}
