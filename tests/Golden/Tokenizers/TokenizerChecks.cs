using System.Text.Json;
using LowLevelSpec.Models;

namespace LowLevelSpec.Golden;

/// <summary>tokenizers/NAME.jsonl and NAME-chat.jsonl: ids of every line, decoding, and chat templates' texts.</summary>
internal static class TokenizerChecks
{
    private const string Case = "tokenizers", ChatSuffix = "-chat", Group = "tokenizer ids", ChatGroup = "chat texts", DecodeGroup = "tokenizer decoding";

    /// <summary>Checks every file of the folder against the tokenizer of its name.</summary>
    public static void Run(GoldenReport report, string folder, SharedFiles shared)
    {
        foreach (string path in Directory.GetFiles(folder, "*.jsonl").Order(StringComparer.Ordinal))
        {
            string file = Path.GetFileName(path), name = Path.GetFileNameWithoutExtension(path);
            bool chat = name.EndsWith(ChatSuffix, StringComparison.Ordinal);
            name = chat ? name[..^ChatSuffix.Length] : name;
            string? model = shared.Find("tokenizers", name);
            if (model is null)
            {
                report.Add(Case, chat ? ChatGroup : Group, file, Outcome.Skip($"there is no tokenizers/{name} beside the golden folder or in the shared folder"));
                continue;
            }

            Tokenizer? tokenizer = null;
            if (!report.Prepare(Case, file, () => tokenizer = Tokenizer.Open(model) ?? throw new InputException($"{model} holds no tokenizer")))
            {
                continue;
            }

            if (chat)
            {
                report.Run(Case, ChatGroup, file, () => Lines<ChatLine>(path, line => Chat(tokenizer!, line)));
                continue;
            }

            report.Run(Case, Group, file, () => Lines<TextLine>(path, line =>
                tokenizer!.Encode(line.Text, allowSpecial: true) is int[] ids && ids.AsSpan().SequenceEqual(line.Ids) ? null : $"ids [{Join(tokenizer!.Encode(line.Text, allowSpecial: true))}], expected [{Join(line.Ids)}] for '{Short(line.Text)}'"));
            bool normalises = false;
            if (report.Prepare(Case, file, () => normalises = Normalises(model)))
            {
                report.Run(Case, DecodeGroup, file, () => Lines<TextLine>(path, line => Decoding(tokenizer!, line, normalises)));
            }
        }
    }

    private static string? Chat(Tokenizer tokenizer, ChatLine line)
    {
        ChatMessage[] messages = [.. line.Messages.Select(static m => new ChatMessage(m.Role, m.Content))];
        string text = tokenizer.RenderChat(messages, line.AddGenerationPrompt);
        return text == line.Text ? null : $"text '{Short(text)}', expected '{Short(line.Text)}'";
    }

    /// <summary>Without a normaliser the text comes back; with one, text that gives the same ids.</summary>
    private static string? Decoding(Tokenizer tokenizer, TextLine line, bool normalises)
    {
        string text = tokenizer.Decode(line.Ids);
        bool same = normalises ? tokenizer.Encode(text, allowSpecial: true).AsSpan().SequenceEqual(line.Ids) : text == line.Text;
        return same ? null : $"decoded '{Short(text)}', expected '{Short(line.Text)}'";
    }

    private static bool Normalises(string folder)
    {
        using JsonDocument json = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(folder, "tokenizer.json")));
        return json.RootElement.TryGetProperty("normalizer", out JsonElement normalizer) && normalizer.ValueKind != JsonValueKind.Null;
    }

    /// <summary>Checks every line; the outcome names the first that fails.</summary>
    private static Outcome Lines<T>(string path, Func<T, string?> check)
    {
        List<T> lines = GoldenJson.ReadLines<T>(path);
        List<string> wrong = [];
        for (int i = 0; i < lines.Count; i++)
        {
            if (check(lines[i]) is string difference)
            {
                wrong.Add($"line {i + 1}: {difference}");
            }
        }

        return wrong.Count == 0 ? Outcome.Exact(lines.Count) : Outcome.Fail($"{wrong.Count} of {lines.Count} lines differ; {wrong[0]}", lines.Count);
    }

    private static string Short(string text)
    {
        string escaped = text.Replace("\n", "\\n", StringComparison.Ordinal).Replace("\r", "\\r", StringComparison.Ordinal);
        return escaped.Length <= 120 ? escaped : escaped[..120] + "...";
    }

    private static string Join(int[] ids) => string.Join(", ", ids.Take(24)) + (ids.Length > 24 ? $", ... ({ids.Length})" : "");

    private sealed record TextLine
    {
        public required string Text { get; init; }

        public required int[] Ids { get; init; }
    }

    private sealed record ChatLine
    {
        public required List<Message> Messages { get; init; }

        public bool AddGenerationPrompt { get; init; } = true;

        public required string Text { get; init; }
    }

    private sealed record Message
    {
        public required string Role { get; init; }

        public required string Content { get; init; }
    }
}
