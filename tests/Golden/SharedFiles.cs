namespace LowLevelSpec.Golden;

/// <summary>
/// Where tokenizers and models lie that golden folders refer to: beside the golden folder, else in the folder that the environment variable
/// <see cref="Variable"/> names, else in a folder "shared" beside or above the working folder or this program.
/// </summary>
internal sealed class SharedFiles
{
    public const string Variable = "LLSPEC_SHARED";

    private readonly List<string> _roots = [];

    /// <param name="goldenFolder">Full path of the golden folder.</param>
    public SharedFiles(string goldenFolder)
    {
        Add(Path.GetDirectoryName(Path.TrimEndingDirectorySeparator(goldenFolder)));
        Add(Environment.GetEnvironmentVariable(Variable));
        foreach (string start in (string[])[Environment.CurrentDirectory, AppContext.BaseDirectory])
        {
            for (DirectoryInfo? folder = new(start); folder is not null; folder = folder.Parent)
            {
                Add(Path.Combine(folder.FullName, "shared"));
            }
        }
    }

    /// <summary>The first folder <paramref name="parts"/> that exists under a root, or null.</summary>
    public string? Find(params string[] parts) => _roots.Select(root => Path.Combine([root, .. parts])).FirstOrDefault(Directory.Exists);

    private void Add(string? root)
    {
        if (!string.IsNullOrEmpty(root) && Directory.Exists(root))
        {
            _roots.Add(Path.GetFullPath(root));
        }
    }
}
