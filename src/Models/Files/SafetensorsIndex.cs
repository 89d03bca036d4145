using System.Text.Json;

namespace LowLevelSpec.Models;

/// <summary>
/// <c>model.safetensors.index.json</c>: which shard holds which tensor. Shards are plain file names in the index's own folder, so
/// an index cannot reach outside it. Symbolic links in the folder are followed: Hugging Face's cache consists of them, and they are
/// made by whoever made the folder, not by the index.
/// </summary>
internal static class SafetensorsIndex
{
    private const int MaxBytes = 64 << 20;

    /// <summary>Opens every shard and checks that shards and index name the same tensors; the caller disposes the files.</summary>
    public static List<SafetensorsFile> Open(string indexPath)
    {
        JsonConfig json = JsonConfig.Read(indexPath, MaxBytes);
        JsonConfig map = json.OptionalObject("weight_map") ?? throw json.Refuse("weight_map", "absent", "an object from tensor names to shard files");
        string folder = Path.GetDirectoryName(indexPath) ?? "";
        Dictionary<string, HashSet<string>> shards = new(StringComparer.Ordinal);
        foreach (JsonProperty property in map.Properties)
        {
            if (property.Value.ValueKind != JsonValueKind.String)
            {
                throw map.Wrong(property.Name, property.Value, "the name of a shard file");
            }

            string shard = map.Text(property.Name, property.Value);
            if (!IsPlainName(shard))
            {
                throw map.Refuse(property.Name, FileErrors.Quote(shard), "the plain name of a .safetensors file in the index's own folder");
            }

            if (!shards.TryGetValue(shard, out HashSet<string>? names))
            {
                shards.Add(shard, names = new(StringComparer.Ordinal));
            }

            names.Add(property.Name);
        }

        if (shards.Count == 0)
        {
            throw json.Refuse("weight_map", "empty", "at least one tensor");
        }

        List<SafetensorsFile> files = [];
        try
        {
            foreach ((string shard, HashSet<string> names) in shards.OrderBy(static s => s.Key, StringComparer.Ordinal))
            {
                SafetensorsFile file = SafetensorsFile.Open(Path.Combine(folder, shard));
                files.Add(file);
                Compare(indexPath, shard, names, file);
            }

            return files;
        }
        catch
        {
            files.ForEach(static f => f.Dispose());
            throw;
        }
    }

    private static void Compare(string indexPath, string shard, HashSet<string> listed, SafetensorsFile file)
    {
        foreach (TensorInfo tensor in file.AllTensors)
        {
            if (!listed.Remove(tensor.Name))
            {
                throw new ModelFileException(file.Path, $"holds tensor {FileErrors.Quote(tensor.Name)}, which {Path.GetFileName(indexPath)} does not place there; download index and shards again from one release");
            }
        }

        if (listed.Count > 0)
        {
            throw new ModelFileException(indexPath, $"places tensor {FileErrors.Quote(listed.First())} in {FileErrors.Quote(shard)}, which does not hold it; download index and shards again from one release");
        }
    }

    private static bool IsPlainName(string name) =>
        name.EndsWith(".safetensors", StringComparison.Ordinal)
        && name.Length <= 255
        && !name.StartsWith('.')
        && !name.Any(static c => c is '/' or '\\' or ':' || char.IsControl(c));
}
