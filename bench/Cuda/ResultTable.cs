namespace LowLevelSpec.CudaBench;

/// <summary>What was measured, printed last.</summary>
internal sealed class ResultTable
{
    private readonly List<(string What, string Value)> _rows = [];

    /// <summary>Shape and device.</summary>
    public string Title { get; set; } = "";

    /// <summary>Adds a row and shows it at once, so that a run that breaks off has said what it knew.</summary>
    public void Add(string what, string value)
    {
        _rows.Add((what, value));
        Console.Error.WriteLine($"{what}: {value}");
    }

    /// <summary>Prints all rows as a Markdown table.</summary>
    public void Print()
    {
        Console.WriteLine();
        Console.WriteLine(Title);
        Console.WriteLine();
        Console.WriteLine("| what | measured |");
        Console.WriteLine("|---|---|");
        foreach ((string what, string value) in _rows)
        {
            Console.WriteLine($"| {what} | {value} |");
        }
    }
}
