using System.Collections.Concurrent;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Xunit;

namespace LowLevelSpec.Models.Tests.Tokenization;

/// <summary>Tokenizers for tests: a small hand-made one, and those of the shared folder where it exists.</summary>
internal static class TokenizerFixtures
{
    private static readonly ConcurrentDictionary<string, Tokenizer> Opened = new();

    /// <summary>The folder "shared" beside or above the repository; null where there is none.</summary>
    public static string? SharedFolder { get; } = Files.SharedFolder.TryFind();

    /// <summary>A path in the shared folder; the test is skipped where it does not exist.</summary>
    public static string Shared(params string[] parts)
    {
        var path = SharedFolder is null ? null : Path.Combine([SharedFolder, .. parts]);
        Assert.SkipWhen(path is null || !Path.Exists(path), $"shared/{string.Join('/', parts)} is not there");
        return path!;
    }

    /// <summary>A tokenizer of the shared folder; the test is skipped where it does not exist.</summary>
    public static Tokenizer SharedTokenizer(string name)
    {
        var folder = Shared("tokenizers", name);
        return Opened.GetOrAdd(name, _ => Tokenizer.Open(folder)!);
    }

    /// <summary>Bytes, a few merges, a token that no merge makes ("whole"), control tokens and a plain added token.</summary>
    public static JsonObject TinyJson()
    {
        var vocabulary = new JsonObject();
        for (var b = 0; b < 256; b++)
        {
            vocabulary[ByteAlphabet.CharOf((byte)b).ToString()] = b;
        }

        string[] merges = ["h e", "l l", "he ll", "hell o", "Ġ w", "o r", "Ġw or", "l d", "Ġwor ld", "Ġ Ġ", "ĠĠ ĠĠ", "1 2", "Ã ©", "e Ì", "a b", "b c", "Ċ Ċ"];
        foreach (var merge in merges)
        {
            vocabulary[merge.Replace(" ", "", StringComparison.Ordinal)] = vocabulary.Count;
        }

        vocabulary["whole"] = vocabulary.Count;
        var next = vocabulary.Count;
        return new JsonObject
        {
            ["version"] = "1.0",
            ["normalizer"] = null,
            ["pre_tokenizer"] = JsonNode.Parse("""{"type":"Sequence","pretokenizers":[{"type":"Digits","individual_digits":true},{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true}]}"""),
            ["post_processor"] = null,
            ["decoder"] = JsonNode.Parse("""{"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true,"use_regex":true}"""),
            ["added_tokens"] = new JsonArray(
                Added(next, "<|im_start|>", true), Added(next + 1, "<|im_end|>", true), Added(next + 2, "<|end|>", true), Added(next + 3, "<tool>", false)),
            ["model"] = new JsonObject
            {
                ["type"] = "BPE",
                ["ignore_merges"] = false,
                ["vocab"] = vocabulary,
                ["merges"] = new JsonArray([.. merges.Select(m => (JsonNode)m)]),
            },
        };
    }

    /// <summary>An entry of added_tokens.</summary>
    public static JsonObject Added(int id, string content, bool special, bool lstrip = false, bool rstrip = false, bool normalized = false, bool singleWord = false)
        => new()
        {
            ["id"] = id,
            ["content"] = content,
            ["special"] = special,
            ["lstrip"] = lstrip,
            ["rstrip"] = rstrip,
            ["normalized"] = normalized,
            ["single_word"] = singleWord,
        };

    /// <summary>Writes the tiny tokenizer, changed, into a new folder.</summary>
    public static TemporaryFolder TinyFolder(Action<JsonObject>? change = null, string? template = null)
    {
        var json = TinyJson();
        change?.Invoke(json);
        var folder = new TemporaryFolder();
        folder.Write("tokenizer.json", json.ToJsonString());
        var config = new JsonObject { ["bos_token"] = "<|im_start|>", ["eos_token"] = new JsonObject { ["content"] = "<|im_end|>" } };
        if (template is not null)
        {
            config["chat_template"] = template;
        }

        folder.Write("tokenizer_config.json", config.ToJsonString());
        return folder;
    }

    /// <summary>Opens the tiny tokenizer, changed.</summary>
    public static Tokenizer Tiny(Action<JsonObject>? change = null, string? template = null)
    {
        using var folder = TinyFolder(change, template);
        return Tokenizer.Open(folder.Path)!;
    }

    /// <summary>The lines of a golden file.</summary>
    public static IEnumerable<JsonElement> Lines(string path)
    {
        foreach (var line in File.ReadLines(path))
        {
            using var document = JsonDocument.Parse(line);
            yield return document.RootElement.Clone();
        }
    }
}

/// <summary>A folder that goes away with the test.</summary>
internal sealed class TemporaryFolder : IDisposable
{
    public string Path { get; } = Directory.CreateTempSubdirectory("tokenizer-").FullName;

    public string Write(string name, string text)
    {
        var path = System.IO.Path.Combine(Path, name);
        File.WriteAllText(path, text, new UTF8Encoding(false));
        return path;
    }

    public void Dispose() => Directory.Delete(Path, recursive: true);
}
