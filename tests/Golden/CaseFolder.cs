using LowLevelSpec.Engine;
using LowLevelSpec.Engine.Drafting;
using LowLevelSpec.Models;

namespace LowLevelSpec.Golden;

/// <summary>One case: a target with drafters and what the reference computed with them. Opens models when first asked for and keeps them.</summary>
internal sealed class CaseFolder : IDisposable
{
    private readonly EngineOptions _options;
    private readonly Dictionary<string, Drafter> _drafters = new(StringComparer.Ordinal);
    private LanguageModel? _model;

    /// <param name="folder">The case's folder.</param>
    /// <param name="options">How models are opened.</param>
    public CaseFolder(string folder, EngineOptions options)
    {
        Folder = folder;
        Name = Path.GetFileName(folder);
        _options = options;
    }

    /// <summary>The folder's name.</summary>
    public string Name { get; }

    /// <summary>Full path.</summary>
    public string Folder { get; }

    /// <summary>The target.</summary>
    public LanguageModel Model => _model ??= LanguageModel.Open(File("target"), _options);

    /// <summary>Path of a file or folder of the case.</summary>
    public string File(string name) => Path.Combine(Folder, name);

    /// <summary>Whether the case has the file.</summary>
    public bool Has(string name) => System.IO.File.Exists(File(name));

    /// <summary>A drafter of the case: "moa", "moa-tli3", "eagle" and so on; "tli3" is short for "moa-tli3".</summary>
    /// <param name="name">Folder, or its short form.</param>
    /// <param name="neededBy">The file that names it, for the error.</param>
    /// <exception cref="InputException">The case has no such folder although a file refers to it, or the engine can't open it.</exception>
    public Drafter Drafter(string name, string neededBy)
    {
        string folder = name.StartsWith("tli", StringComparison.Ordinal) ? "moa-" + name : name;
        if (_drafters.TryGetValue(folder, out Drafter? drafter))
        {
            return drafter;
        }

        if (!Directory.Exists(File(folder)))
        {
            throw new InputException($"{File(folder)} is missing, though {neededBy} has values computed with it");
        }

        // The authors' trainer writes the target's config, which does not say N; the folder's name does.
        const string marker = "moa-tli";
        int? layers = folder.StartsWith(marker, StringComparison.Ordinal) && int.TryParse(folder.AsSpan(marker.Length), out int n) ? n : null;
        drafter = Model.OpenDrafter(File(folder), new DrafterOptions { TargetLayerInference = layers });
        _drafters.Add(folder, drafter);
        return drafter;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (Drafter drafter in _drafters.Values)
        {
            drafter.Dispose();
        }

        _model?.Dispose();
    }
}
