using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace LowLevelSpec.Cli.Output;

/// <summary>How reports are written: snake_case names, readable text, one line feed at the end. Numbers that are not finite are refused.</summary>
internal static class Json
{
    private static readonly JsonSerializerOptions Options = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        DictionaryKeyPolicy = null,
        Converters = { new JsonStringEnumConverter(JsonNamingPolicy.SnakeCaseLower) },

        // The reader is a program, not a web page: text in other alphabets stays readable.
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        WriteIndented = true,
        IndentSize = 1,
        NewLine = "\n",

        // A line that lacks a member is not one of ours.
        RespectRequiredConstructorParameters = true,
    };

    private static readonly JsonSerializerOptions Compact = new(Options) { WriteIndented = false };

    /// <summary>A report over several lines.</summary>
    public static string Indented<T>(T report) => JsonSerializer.Serialize(report, Options) + "\n";

    /// <summary>A report on one line.</summary>
    public static string Line<T>(T report) => JsonSerializer.Serialize(report, Compact) + "\n";

    /// <summary>Reads what <see cref="Line"/> wrote.</summary>
    /// <exception cref="JsonException">It is something else.</exception>
    public static T Read<T>(string line) => JsonSerializer.Deserialize<T>(line, Options) ?? throw new JsonException("null");

    /// <summary>A ratio for a report: null where there is none.</summary>
    public static double? Ratio(double over, double under) => under > 0 && double.IsFinite(over / under) ? over / under : null;
}
