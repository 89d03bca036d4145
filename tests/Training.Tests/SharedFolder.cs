using Xunit;

namespace LowLevelSpec.Training.Tests;

/// <summary>The <c>shared</c> folder with golden files and data, where a checkout or one of its parents has one beside it.</summary>
internal static class SharedFolder
{
    /// <summary>Path of a file or folder below it; skips the test where there is none.</summary>
    public static string Require(params string[] parts)
    {
        for (DirectoryInfo? folder = new(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            string shared = Path.Combine(folder.FullName, "shared");
            if (Directory.Exists(Path.Combine(shared, "golden")))
            {
                string path = Path.Combine([shared, .. parts]);
                Assert.SkipUnless(Path.Exists(path), $"'shared' holds no {string.Join('/', parts)}");
                return path;
            }
        }

        Assert.Skip("no 'shared' folder with golden files beside this checkout");
        return "";
    }
}
