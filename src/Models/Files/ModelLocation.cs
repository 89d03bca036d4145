namespace LowLevelSpec.Models;

/// <summary>How a checkpoint's weights are stored.</summary>
internal enum WeightLayout
{
    Single,
    Sharded,
    Gguf,
}

/// <summary>Which files a path given by the user stands for.</summary>
/// <param name="Path">As given.</param>
/// <param name="Weights">The safetensors file, its index, or the GGUF file.</param>
/// <param name="Layout">Which of these it is.</param>
/// <param name="Config">config.json; empty for GGUF, which carries its own.</param>
internal sealed record ModelLocation(string Path, string Weights, WeightLayout Layout, string Config)
{
    private const string IndexEnding = ".safetensors.index.json";

    public static ModelLocation Find(string path)
    {
        ArgumentNullException.ThrowIfNull(path);
        if (path.Length == 0 || path.Contains('\0', StringComparison.Ordinal))
        {
            string found = path.Length == 0 ? "empty" : FileErrors.Quote(path);
            throw new InputException($"the model path is {found}, expected a folder, a .safetensors file or a .gguf file; give one");
        }

        if (Directory.Exists(path))
        {
            return InFolder(path);
        }

        if (!File.Exists(path))
        {
            throw new ModelFileException(path, "does not exist; check the path");
        }

        if (path.EndsWith(".gguf", StringComparison.OrdinalIgnoreCase))
        {
            return new ModelLocation(path, path, WeightLayout.Gguf, "");
        }

        WeightLayout? layout = path.EndsWith(".safetensors", StringComparison.OrdinalIgnoreCase) ? WeightLayout.Single
            : path.EndsWith(IndexEnding, StringComparison.OrdinalIgnoreCase) ? WeightLayout.Sharded
            : null;
        return layout is WeightLayout known
            ? WithConfig(path, path, known, System.IO.Path.GetDirectoryName(path) ?? "")
            : throw new ModelFileException(path, $"has an unknown ending, expected a folder, .safetensors, {IndexEnding} or .gguf; convert the model to one of these");
    }

    private static ModelLocation InFolder(string folder)
    {
        string single = System.IO.Path.Combine(folder, "model.safetensors"), index = System.IO.Path.Combine(folder, "model" + IndexEnding);
        if (File.Exists(single))
        {
            return WithConfig(folder, single, WeightLayout.Single, folder);
        }

        if (File.Exists(index))
        {
            return WithConfig(folder, index, WeightLayout.Sharded, folder);
        }

        string[] ggufs;
        try
        {
            ggufs = [.. Directory.EnumerateFiles(folder, "*.gguf").Take(2)];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw FileErrors.Unreadable(folder, e);
        }

        return ggufs switch
        {
            [string only] => new ModelLocation(folder, only, WeightLayout.Gguf, ""),
            [] => throw new ModelFileException(folder, "holds no model.safetensors, no model.safetensors.index.json and no .gguf file; point to a model's folder, and convert PyTorch .bin weights to safetensors first"),
            _ => throw new ModelFileException(folder, "holds several .gguf files and no model.safetensors; give the path of one of the files"),
        };
    }

    private static ModelLocation WithConfig(string path, string weights, WeightLayout layout, string folder)
    {
        string config = System.IO.Path.Combine(folder, "config.json");
        return File.Exists(config)
            ? new ModelLocation(path, weights, layout, config)
            : throw new ModelFileException(config, $"does not exist, but {System.IO.Path.GetFileName(weights)} needs it for the model's sizes; put the original config.json beside the weights");
    }
}
