using System.CommandLine;

namespace LowLevelSpec.Cli;

/// <summary>The command line before it is parsed.</summary>
internal static class Arguments
{
    /// <summary>
    /// Makes <c>--name=</c> the two arguments <c>--name</c> and "": the parser takes the next argument for the missing value otherwise,
    /// which a script with an unset variable does not mean. Only options of the command line are split, so a value such as "x=" stays.
    /// </summary>
    public static string[] SplitEmptyValues(Command root, IReadOnlyList<string> args)
    {
        HashSet<string> names = new(StringComparer.Ordinal);
        Collect(root, names);
        List<string> split = new(args.Count);
        bool options = true;
        foreach (string arg in args)
        {
            options &= arg != "--";
            if (options && arg is [.. string name, '=' or ':'] && names.Contains(name))
            {
                split.Add(name);
                split.Add("");
            }
            else
            {
                split.Add(arg);
            }
        }

        return [.. split];
    }

    private static void Collect(Command command, HashSet<string> names)
    {
        foreach (Option option in command.Options)
        {
            names.Add(option.Name);
            names.UnionWith(option.Aliases);
        }

        foreach (Command sub in command.Subcommands)
        {
            Collect(sub, names);
        }
    }
}
