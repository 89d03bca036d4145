using LowLevelSpec.Models;

namespace LowLevelSpec.Engine;

/// <summary>A target and its drafter, both on disk.</summary>
/// <param name="Target">The target's folder, for <see cref="LanguageModel.Open"/>.</param>
/// <param name="Drafter">Its Mixture-of-Attentions drafter's folder, for <see cref="LanguageModel.OpenDrafter"/>.</param>
/// <param name="IsGenerated">Whether the pair is the generated one (<see cref="TinyPair"/>), which knows a page of text, as no trained one was found.</param>
public sealed record EmbeddedPair(string Target, string Drafter, bool IsGenerated);

/// <summary>
/// The pair that ships with the program and stands in where no model is named: a small target trained on the King James text, and its drafter
/// (docs/embedded-models.md). Thread-safe.
/// </summary>
public static class EmbeddedModels
{
    /// <summary>Folder name of the target below <c>models/</c>.</summary>
    internal const string TargetName = "kjv-4m";

    /// <summary>Folder name of its drafter.</summary>
    internal const string DrafterName = TargetName + "-moa";

    private const ulong GeneratedSeed = 1;

    private static readonly Lazy<EmbeddedPair> Pair = new(static () => FindFrom(AppContext.BaseDirectory) ?? Generate());

    /// <summary>
    /// The pair in <c>models/</c> beside the program or in a folder above it (a build's output lies inside the repository). Where there is none,
    /// the generated pair is written into a temporary folder, which goes when the process ends. Every call gives the same pair.
    /// </summary>
    /// <exception cref="InputException">No trained pair is there and the temporary folder can't be written.</exception>
    public static EmbeddedPair Find() => Pair.Value;

    /// <summary>The folder <c>models/<paramref name="name"/></c> beside the program or in a folder above it, or null.</summary>
    public static string? FindFolder(string name) => FindFolder(AppContext.BaseDirectory, name);

    /// <summary>The trained pair at <paramref name="from"/> or above, or null.</summary>
    internal static EmbeddedPair? FindFrom(string from) =>
        FindFolder(from, TargetName) is string target && FindFolder(from, DrafterName) is string drafter ? new EmbeddedPair(target, drafter, IsGenerated: false) : null;

    private static string? FindFolder(string from, string name)
    {
        for (DirectoryInfo? at = new(from); at is not null; at = at.Parent)
        {
            string folder = Path.Combine(at.FullName, "models", name);
            if (File.Exists(Path.Combine(folder, "config.json")))
            {
                return folder;
            }
        }

        return null;
    }

    private static EmbeddedPair Generate()
    {
        string folder;
        try
        {
            folder = Directory.CreateTempSubdirectory("llspec-models-").FullName;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new InputException($"no model is named, none lies in models/ beside the program, and none can be generated: {e.Message.TrimEnd('.')}; name a model", e);
        }

        AppDomain.CurrentDomain.ProcessExit += (_, _) => Delete(folder);
        TinyPair.Write(folder, GeneratedSeed);
        return new EmbeddedPair(Path.Combine(folder, "target"), Path.Combine(folder, "moa"), IsGenerated: true);
    }

    private static void Delete(string folder)
    {
        try
        {
            Directory.Delete(folder, recursive: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // The process ends; a temporary folder that something still holds open is the system's to clean.
        }
    }
}
