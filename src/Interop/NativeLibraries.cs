using System.Collections.Concurrent;
using System.Runtime.InteropServices;

namespace LowLevelSpec.Interop;

/// <summary>
/// Finds the native libraries behind this assembly's imports, at the first call and not before: everything loads where a library is missing, and
/// whoever needs it is told. A name stands for one library in a process.
/// </summary>
internal static class NativeLibraries
{
    private static readonly ConcurrentDictionary<string, Lazy<(nint Handle, string Name)>> Loaded = new(StringComparer.Ordinal);

    static NativeLibraries() => NativeLibrary.SetDllImportResolver(typeof(NativeLibraries).Assembly, static (name, _, _) =>
        Loaded.TryGetValue(name, out Lazy<(nint Handle, string Name)>? library) ? library.Value.Handle : 0);

    /// <summary>Loads the first of <paramref name="candidates"/> that the system finds and lets the imports of <paramref name="name"/> resolve to it.</summary>
    /// <param name="name">Name that the imports carry.</param>
    /// <param name="candidates">File names or paths, best first.</param>
    /// <returns>The candidate that was loaded, at this call or an earlier one; null where none is there.</returns>
    public static string? Load(string name, IReadOnlyList<string> candidates)
    {
        Lazy<(nint Handle, string Name)> library = Loaded.GetOrAdd(name, _ => new(() => First(candidates)));
        return library.Value.Handle == 0 ? null : library.Value.Name;
    }

    /// <summary>Whether a loaded library has an entry point.</summary>
    public static bool Exports(string name, string function) =>
        Loaded.TryGetValue(name, out Lazy<(nint Handle, string Name)>? library) && library.Value.Handle != 0 && NativeLibrary.TryGetExport(library.Value.Handle, function, out _);

    private static (nint Handle, string Name) First(IReadOnlyList<string> candidates)
    {
        foreach (string candidate in candidates)
        {
            if (NativeLibrary.TryLoad(candidate, out nint handle))
            {
                return (handle, candidate);
            }
        }

        return (0, "");
    }
}
