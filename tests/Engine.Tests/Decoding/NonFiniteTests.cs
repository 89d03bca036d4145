using LowLevelSpec.Engine.Drafting;
using LowLevelSpec.Models;
using Xunit;

namespace LowLevelSpec.Engine.Tests.Decoding;

/// <summary>Weights that hold NaN or infinity end a generation with a sentence that names the model; a broken drafter falls silent and the text goes on; a full check of the file finds the tensor.</summary>
public sealed class NonFiniteTests
{
    [Theory]
    [InlineData(float.NaN)]
    [InlineData(float.PositiveInfinity)]
    public void Broken_weights_are_named(float bad)
    {
        string source = Path.Combine(TinyModels.Instance.Folder, "enumerable"), folder = Directory.CreateTempSubdirectory("llspec-nan-").FullName;
        try
        {
            Break(Path.Combine(source, "target"), Path.Combine(folder, "target"), "model.layers.1.mlp.down_proj.weight", bad);
            Break(Path.Combine(source, "moa"), Path.Combine(folder, "moa"), "Ekv2E.bias", bad);
            using (LanguageModel broken = LanguageModel.Open(Path.Combine(folder, "target"), new EngineOptions { Threads = 1 }))
            {
                string message = Assert.Throws<InputException>(() => broken.Generate(new() { PromptIds = [1, 2] })).Message;
                Assert.Contains("the model's logits", message);
                Assert.Contains("the model's logits", Assert.Throws<InputException>(() => broken.Generate(new() { PromptIds = [1, 2], Sampling = new() { Temperature = 1 } })).Message);
            }

            using LanguageModel model = LanguageModel.Open(Path.Combine(source, "target"), new EngineOptions { Threads = 1 });
            using Drafter drafter = model.OpenDrafter(Path.Combine(folder, "moa"));
            Assert.Equal(model.Generate(new() { PromptIds = [1, 2] }).OutputIds, model.Generate(new() { PromptIds = [1, 2], Drafter = drafter }).OutputIds);

            using ModelFile file = ModelFile.Open(Path.Combine(folder, "target")), good = ModelFile.Open(Path.Combine(source, "target"));
            Assert.Equal("model.layers.1.mlp.down_proj.weight", file.FindNonFinite());
            Assert.Null(good.FindNonFinite());
            using DrafterFile drafterFile = DrafterFile.Open(Path.Combine(folder, "moa"), model.Config);
            Assert.Equal("Ekv2E.bias", drafterFile.FindNonFinite());
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static void Break(string source, string target, string tensorName, float bad)
    {
        Directory.CreateDirectory(target);
        File.Copy(Path.Combine(source, "config.json"), Path.Combine(target, "config.json"));
        using SafetensorsFile file = SafetensorsFile.Open(Path.Combine(source, "model.safetensors"));
        SafetensorsWriter writer = new();
        foreach (TensorView tensor in file.Tensors.Values)
        {
            float[] values = Dequantizer.All(tensor);
            if (tensor.Name == tensorName)
            {
                values[^1] = bad;
            }

            writer.Add(tensor.Name, tensor.Shape, values);
        }

        writer.Write(Path.Combine(target, "model.safetensors"));
    }
}
