using System.Globalization;
using System.Text;
using System.Text.Json;

namespace LowLevelSpec.Models;

/// <summary>Wording shared by the file readers. Text that comes from a file is shortened and escaped before it enters a message.</summary>
internal static class FileErrors
{
    private const int MaxShown = 80;

    public static ModelFileException Unreadable(string path, Exception inner)
    {
        string reason = inner switch
        {
            FileNotFoundException or DirectoryNotFoundException => "does not exist; check the path",
            UnauthorizedAccessException => "cannot be opened (a folder, or no permission to read); check the path and its permissions",
            _ => $"cannot be read ({Plain(inner.Message)}); check the file and its disk",
        };
        return new ModelFileException(path, reason, inner);
    }

    public static ModelFileException BadJson(string path, string what, int depth, JsonException inner)
    {
        string where = inner.BytePositionInLine is long at ? $" (line {(inner.LineNumber ?? 0) + 1}, byte {at})" : "";
        return new ModelFileException(path, $"{what} is not valid JSON of at most {depth} levels without repeated keys{where}; download the file again", inner);
    }

    /// <summary>A name from a file, quoted, printable and short.</summary>
    public static string Quote(string text) => $"'{Plain(text)}'";

    /// <summary>Text from a file, printable, on one line and short.</summary>
    public static string Plain(string text)
    {
        StringBuilder shown = new();
        foreach (char c in text.AsSpan(0, Math.Min(text.Length, MaxShown)))
        {
            if (char.IsControl(c) || char.IsSurrogate(c) || c is '\u2028' or '\u2029')
            {
                shown.Append(CultureInfo.InvariantCulture, $"\\u{(int)c:x4}");
            }
            else
            {
                shown.Append(c);
            }
        }

        return text.Length > MaxShown ? shown.Append("...").ToString() : shown.ToString();
    }

    public static string Shape(IEnumerable<long> shape) => $"[{string.Join(", ", shape)}]";
}
