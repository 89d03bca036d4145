using LowLevelSpec.Engine;
using LowLevelSpec.Models;

namespace LowLevelSpec.Golden;

/// <summary>The golden checker's command line.</summary>
internal static class Program
{
    private const string Usage = """
        usage: golden DIR [--only CASE] [--json FILE] [--threads N] [--verbose]

          DIR          folder of golden vectors: case folders, tokenizers/, smollm2/
          --only CASE  check one case folder, "tokenizers" or "smollm2"
          --json FILE  write all results as JSON ("-": to standard output, the table then goes to standard error)
          --threads N  threads of the CPU backend (default: all)
          --verbose    list every check
        """;

    private const int Succeeded = 0, Failed = 1, WrongUsage = 2;

    private static int Main(string[] arguments)
    {
        string? folder = null, only = null, json = null;
        int threads = 0;
        bool verbose = false;
        for (int i = 0; i < arguments.Length; i++)
        {
            string? value = i + 1 < arguments.Length ? arguments[i + 1] : null;
            switch (arguments[i])
            {
                case "--help" or "-h":
                    Console.WriteLine(Usage);
                    return Succeeded;
                case "--verbose":
                    verbose = true;
                    break;
                case "--only" when value is not null:
                    only = arguments[++i];
                    break;
                case "--json" when value is not null:
                    json = arguments[++i];
                    break;
                case "--threads" when int.TryParse(value, out threads):
                    i++;
                    break;
                case string path when folder is null && !path.StartsWith('-'):
                    folder = path;
                    break;
                default:
                    Console.Error.WriteLine($"'{arguments[i]}': unknown option, missing value or a second folder\n\n{Usage}");
                    return WrongUsage;
            }
        }

        if (folder is null)
        {
            Console.Error.WriteLine(Usage);
            return WrongUsage;
        }

        try
        {
            return Run(new GoldenOptions(folder) { Only = only, Engine = new EngineOptions { Threads = threads, Arithmetic = Arithmetic.Exact, KvType = KvType.F32 }, Progress = static name => Console.Error.WriteLine($"checking {name}") }, json, verbose);
        }
        catch (Exception e) when (e is InputException or IOException or UnauthorizedAccessException)
        {
            Console.Error.WriteLine(e.Message);
            return Failed;
        }
    }

    private static int Run(GoldenOptions options, string? json, bool verbose)
    {
        GoldenReport report = GoldenRunner.Run(options);
        if (json == "-")
        {
            Console.WriteLine(ReportJson.Write(report));
        }
        else if (json is not null)
        {
            File.WriteAllText(json, ReportJson.Write(report));
        }

        bool interactive = json != "-" && !Console.IsOutputRedirected;
        ReportTable.Print(report, json == "-" ? Console.Error : Console.Out, interactive, verbose);
        if (report.Failed == 0 && report.Passed == 0)
        {
            Console.Error.WriteLine($"{options.Folder}: nothing could be compared, which proves nothing");
        }

        return report.Succeeded ? Succeeded : Failed;
    }
}
