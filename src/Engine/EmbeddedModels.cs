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

    /// <summary>The trained pair at <paramref name="folder"/> or above, or null.</summary>
    internal static EmbeddedPair? FindFrom(string folder)
    {
        for (DirectoryInfo? at = new(folder); at is not null; at = at.Parent)
        {
            string target = Path.Combine(at.FullName, "models", TargetName), drafter = Path.Combine(at.FullName, "models", DrafterName);
            if (Holds(target) && Holds(drafter))
            {
                return new EmbeddedPair(target, drafter, IsGenerated: false);
            }
        }

        return null;
    }

    private static bool Holds(string folder) => File.Exists(Path.Combine(folder, "config.json"));

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
