namespace LowLevelSpec.Engine.Measuring;

/// <summary>Where measurements that hold for this machine are kept between runs.</summary>
public static class UserCache
{
    /// <summary>Environment variable that switches the cache off when it is "1".</summary>
    public const string OffVariable = "LLSPEC_NO_CACHE";

    /// <summary>
    /// <c>lowlevelspec</c> in XDG_CACHE_HOME, in ~/.cache (Linux) or in the user's local application data; null where there is no such folder
    /// or <see cref="OffVariable"/> is "1". It need not exist yet.
    /// </summary>
    public static string? Folder
    {
        get
        {
            if (Environment.GetEnvironmentVariable(OffVariable) == "1")
            {
                return null;
            }

            string? named = Environment.GetEnvironmentVariable("XDG_CACHE_HOME");
            string home = Environment.GetFolderPath(Environment.SpecialFolder.UserProfile, Environment.SpecialFolderOption.DoNotVerify);
            string root = !string.IsNullOrEmpty(named) && Path.IsPathFullyQualified(named) ? named
                : OperatingSystem.IsLinux() ? (home.Length == 0 ? "" : Path.Combine(home, ".cache"))
                : Environment.GetFolderPath(Environment.SpecialFolder.LocalApplicationData, Environment.SpecialFolderOption.DoNotVerify);
            return root.Length == 0 ? null : Path.Combine(root, "lowlevelspec");
        }
    }
}
