using LowLevelSpec.Engine;

namespace LowLevelSpec.Cli.Tests;

/// <summary>The tiny pair on disk, written once for all tests, and a folder for what they make.</summary>
internal static class TinyFiles
{
    private static readonly Lazy<string> Root = new(Write);

    /// <summary>Folder of this run; it goes when the tests have ended.</summary>
    public static string Folder => Root.Value;

    /// <summary>The target, with tokenizer and chat template.</summary>
    public static string Target => Path.Combine(Folder, "target");

    /// <summary>Its Mixture-of-Attentions drafter.</summary>
    public static string Moa => Path.Combine(Folder, "moa");

    /// <summary>The target without its tokenizer.</summary>
    public static string Mute => Path.Combine(Folder, "mute");

    /// <summary>A file with this content; the name is new each time.</summary>
    public static string File(string content, string ending = ".jsonl")
    {
        string path = Path.Combine(Folder, Guid.NewGuid().ToString("N") + ending);
        System.IO.File.WriteAllText(path, content);
        return path;
    }

    private static string Write()
    {
        string folder = Directory.CreateTempSubdirectory("llspec-cli-tests-").FullName;
        AppDomain.CurrentDomain.ProcessExit += (_, _) => Directory.Delete(folder, recursive: true);
        TinyPair.Write(folder, 1);
        string mute = Directory.CreateDirectory(Path.Combine(folder, "mute")).FullName;
        foreach (string name in new[] { "config.json", "model.safetensors" })
        {
            System.IO.File.Copy(Path.Combine(folder, "target", name), Path.Combine(mute, name));
        }

        return folder;
    }
}
