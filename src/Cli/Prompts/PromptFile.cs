using System.Text;
using System.Text.Json;
using LowLevelSpec.Engine.Decoding;
using LowLevelSpec.Models;

namespace LowLevelSpec.Cli.Prompts;

/// <summary>One prompt of a file.</summary>
/// <param name="File">The file as given.</param>
/// <param name="Line">Its line, 1 = first.</param>
/// <param name="Ids">Token ids, or null.</param>
/// <param name="Message">A user's message for the chat template, or null.</param>
/// <param name="Text">Plain text, or null.</param>
internal sealed record FilePrompt(string File, int Line, IReadOnlyList<int>? Ids, string? Message, string? Text)
{
    /// <summary>Where it comes from, for messages.</summary>
    public string Place => $"{File} line {Line}";

    /// <summary>Puts the prompt into a request.</summary>
    public GenerationRequest Fill(GenerationRequest request) => request with
    {
        PromptIds = Ids,
        Prompt = Text,
        Messages = Message is null ? null : [new ChatMessage("user", Message)],
    };
}

/// <summary>Reads JSON lines: {"prompt_ids": [...]}, {"turns": ["...", ...]} (the first one counts) or {"prompt": "..."}; other members are ignored.</summary>
internal static class PromptFile
{
    /// <summary>More than any set of prompts has; endless files (devices, pipes) end here.</summary>
    internal const int MaxBytes = 256 << 20;

    /// <summary>The members that give a prompt; a line has one of them.</summary>
    private static readonly string[] Members = ["prompt_ids", "turns", "prompt"];

    private static readonly UTF8Encoding Strict = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);
    private static readonly JsonDocumentOptions JsonOptions = new() { MaxDepth = 32 };

    /// <summary>The files that a path stands for: itself, or a folder's .jsonl files in the order of their names.</summary>
    /// <exception cref="InputException">The folder holds none or can't be read.</exception>
    public static IReadOnlyList<string> Sets(string path)
    {
        if (!Directory.Exists(path))
        {
            return [path];
        }

        try
        {
            string[] files = [.. Directory.EnumerateFiles(path, "*.jsonl").Order(StringComparer.Ordinal)];
            return files.Length > 0 ? files : throw new InputException($"--prompts {path}: holds no .jsonl files; give a folder of prompt files, or the files");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new InputException($"--prompts {path}: can't be read: {FileProblem.Reason(e)}; give files of JSON lines", e);
        }
    }

    /// <summary>Every prompt of a file, in order; blank lines are skipped.</summary>
    /// <exception cref="InputException">The file can't be read, holds no prompt, or a line is none; the message names the line.</exception>
    public static List<FilePrompt> Read(string path)
    {
        if (path == "-")
        {
            throw new InputException("--prompts -: standard input is not supported here; give a file of JSON lines");
        }

        if (Directory.Exists(path))
        {
            throw new InputException($"--prompts {path}: is a folder; give a file of JSON lines");
        }

        List<FilePrompt> prompts = [];
        ReadOnlyMemory<byte> rest = ReadAll(path);
        for (int line = 1; !rest.IsEmpty; line++)
        {
            int end = rest.Span.IndexOf((byte)'\n');
            ReadOnlyMemory<byte> one = end < 0 ? rest : rest[..end];
            rest = end < 0 ? default : rest[(end + 1)..];
            if (one.Span.IndexOfAnyExcept(" \t\r"u8) >= 0)
            {
                prompts.Add(Parse(path, line, one));
            }
        }

        return prompts.Count > 0 ? prompts : throw new InputException($"{path}: holds no prompts, expected one JSON object per line");
    }

    private static ReadOnlyMemory<byte> ReadAll(string path)
    {
        try
        {
            using FileStream file = new(path, FileMode.Open, FileAccess.Read);
            using MemoryStream bytes = new();
            byte[] buffer = new byte[1 << 16];
            for (int read = file.Read(buffer); read > 0; read = file.Read(buffer))
            {
                bytes.Write(buffer, 0, read);
                if (bytes.Length > MaxBytes)
                {
                    throw new InputException($"{path}: is longer than {MaxBytes >> 20} MiB, too much for a file of prompts; split it");
                }
            }

            ReadOnlyMemory<byte> all = bytes.GetBuffer().AsMemory(0, (int)bytes.Length);
            return all.Span.StartsWith(Encoding.UTF8.Preamble) ? all[Encoding.UTF8.Preamble.Length..] : all;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new InputException($"--prompts {path}: can't be read: {FileProblem.Reason(e)}; give a file of JSON lines", e);
        }
    }

    private static FilePrompt Parse(string path, int line, ReadOnlyMemory<byte> json)
    {
        InputException Bad(string reason, Exception? inner = null) => new($"{path} line {line}: {reason}; expected one of {{\"prompt_ids\": [1, 2]}}, {{\"turns\": [\"text\"]}} or {{\"prompt\": \"text\"}}", inner!);

        try
        {
            _ = Strict.GetCharCount(json.Span);
            using JsonDocument document = JsonDocument.Parse(json, JsonOptions);
            JsonElement root = document.RootElement;
            string[] given = root.ValueKind == JsonValueKind.Object ? [.. Members.Where(name => root.TryGetProperty(name, out _))] : [];
            return root.ValueKind != JsonValueKind.Object ? throw Bad($"found {Kind(root)}")
                : given.Length > 1 ? throw Bad($"has {string.Join(" and ", given)}, which is more than one prompt")
                : root.TryGetProperty("prompt_ids", out JsonElement ids) ? new FilePrompt(path, line, Ids(ids) ?? throw Bad("prompt_ids is not a list of token ids"), null, null)
                : root.TryGetProperty("turns", out JsonElement turns) ? new FilePrompt(path, line, null, FirstTurn(turns) ?? throw Bad("turns is not a list that begins with text"), null)
                : root.TryGetProperty("prompt", out JsonElement text) && text.ValueKind == JsonValueKind.String ? new FilePrompt(path, line, null, null, text.GetString())
                : throw Bad("found no prompt");
        }
        catch (JsonException e)
        {
            throw Bad("is not JSON", e);
        }
        catch (Exception e) when (e is ArgumentException or InvalidOperationException)
        {
            // Bytes that are no UTF-8, and escapes that name half a character.
            throw Bad("is not valid text", e);
        }
    }

    private static List<int>? Ids(JsonElement list)
    {
        if (list.ValueKind != JsonValueKind.Array)
        {
            return null;
        }

        List<int> ids = new(list.GetArrayLength());
        foreach (JsonElement item in list.EnumerateArray())
        {
            if (item.ValueKind != JsonValueKind.Number || !item.TryGetInt32(out int id))
            {
                return null;
            }

            ids.Add(id);
        }

        return ids;
    }

    private static string? FirstTurn(JsonElement list) =>
        list.ValueKind == JsonValueKind.Array && list.GetArrayLength() > 0 && list[0].ValueKind == JsonValueKind.String ? list[0].GetString() : null;

    private static string Kind(JsonElement element) => element.ValueKind switch
    {
        JsonValueKind.Array => "a list",
        JsonValueKind.String => "a string",
        JsonValueKind.Number => "a number",
        _ => "a bare value",
    };
}
