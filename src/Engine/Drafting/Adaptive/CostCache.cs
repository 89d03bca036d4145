using System.Security.Cryptography;
using System.Text;
using System.Text.Json;

namespace LowLevelSpec.Engine.Drafting.Adaptive;

/// <summary>
/// Keeps measured costs in a folder of the user's cache, one small file per machine, build of the engine, backend (width, arithmetic, threads), model file and
/// drafter. A file that is damaged, or a folder that can't be used, only costs the measurement.
/// </summary>
internal static class CostCache
{
    private const int MaxBytes = 1 << 20;

    /// <summary>The file's name for these facts.</summary>
    public static string Key(IEnumerable<string> target, IEnumerable<string> drafter) =>
        Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(string.Join('\n', [.. target, "", .. drafter]))))[..32];

    /// <summary>What identifies a file's content well enough: its path, size and time.</summary>
    public static string FileFact(string path)
    {
        try
        {
            FileSystemInfo info = Directory.Exists(path) ? new DirectoryInfo(path) : new FileInfo(path);
            return $"{info.FullName} {(info as FileInfo)?.Length} {info.LastWriteTimeUtc.Ticks}";
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException)
        {
            return path;
        }
    }

    /// <summary>The stored costs, or null where there are none to be believed.</summary>
    /// <param name="folder">The cache; null = none.</param>
    /// <param name="key">From <see cref="Key"/>.</param>
    public static StepCosts? Read(string? folder, string key)
    {
        try
        {
            string? path = folder is null ? null : PathOf(folder, key);
            return path is not null && File.Exists(path) && new FileInfo(path).Length < MaxBytes
                && JsonSerializer.Deserialize<StepCosts>(File.ReadAllText(path)) is StepCosts costs && costs.IsSound() ? costs : null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or JsonException or NotSupportedException)
        {
            return null;
        }
    }

    /// <summary>Stores costs; does nothing where it can't.</summary>
    public static void Write(string? folder, string key, StepCosts costs)
    {
        if (folder is null)
        {
            return;
        }

        try
        {
            string path = PathOf(folder, key), temporary = $"{path}.{Guid.NewGuid():N}.tmp";
            Directory.CreateDirectory(Path.GetDirectoryName(path)!);
            File.WriteAllText(temporary, JsonSerializer.Serialize(costs));
            File.Move(temporary, path, overwrite: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or NotSupportedException)
        {
            // The next run measures again.
        }
    }

    private static string PathOf(string folder, string key) => Path.Combine(folder, "costs", key + ".json");
}
