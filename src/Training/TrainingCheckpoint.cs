using System.Globalization;
using LowLevelSpec.Models;
using LowLevelSpec.Training.Compute;
using LowLevelSpec.Training.Optimisation;

namespace LowLevelSpec.Training;

/// <summary>
/// State of a training between two steps, in one file that replaces the last one atomically: weights and both moments in F32, the number of steps
/// made. Order of data and random choices follow from seed and step, so nothing else is needed to go on bit for bit.
/// </summary>
internal static class TrainingCheckpoint
{
    private const string First = "first_moment.", Second = "second_moment.";

    /// <summary>Writes the state after <see cref="AdamW{T}.Steps"/> steps.</summary>
    public static void Write(string path, AdamW<float> optimiser, string fingerprint)
    {
        SafetensorsWriter writer = new();
        writer.Metadata["step"] = optimiser.Steps.ToString(CultureInfo.InvariantCulture);
        writer.Metadata["options"] = fingerprint;
        for (int i = 0; i < optimiser.Parameters.Count; i++)
        {
            Parameter<float> parameter = optimiser.Parameters[i];
            writer.Add(parameter.Name, parameter.Shape, parameter.Value.Span);
            writer.Add(First + parameter.Name, parameter.Shape, optimiser.First[i].Span);
            writer.Add(Second + parameter.Name, parameter.Shape, optimiser.Second[i].Span);
        }

        writer.Write(path);
    }

    /// <summary>Takes over the state in <paramref name="path"/>.</summary>
    /// <exception cref="InputException">It belongs to a training with other options or data.</exception>
    public static void Read(string path, AdamW<float> optimiser, string fingerprint)
    {
        using SafetensorsFile file = SafetensorsFile.Open(path);
        string found = file.Metadata.GetValueOrDefault("options", "no options");
        if (found != fingerprint)
        {
            throw new ModelFileException(path, $"belongs to a training with '{found}', expected '{fingerprint}'; resume it with its own options and data, or train into another folder");
        }

        if (!int.TryParse(file.Metadata.GetValueOrDefault("step"), NumberStyles.None, CultureInfo.InvariantCulture, out int steps))
        {
            throw new ModelFileException(path, "says nothing about the steps made, expected a checkpoint of this trainer; train into another folder");
        }

        for (int i = 0; i < optimiser.Parameters.Count; i++)
        {
            Parameter<float> parameter = optimiser.Parameters[i];
            parameter.Set(file.Get(parameter.Name));
            Fill(First + parameter.Name, optimiser.First[i]);
            Fill(Second + parameter.Name, optimiser.Second[i]);
        }

        optimiser.Steps = steps;

        void Fill(string name, Tensor<float> to)
        {
            float[] values = Dequantizer.All(file.Get(name));
            if (values.Length != to.Length)
            {
                throw new ModelFileException(path, $"tensor '{name}' has {values.Length} elements, expected {to.Length}; the file belongs to another drafter");
            }

            values.CopyTo(to.Span);
        }
    }
}
