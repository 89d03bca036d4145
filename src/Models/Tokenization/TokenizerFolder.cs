using System.Text;
using System.Text.Json;

namespace LowLevelSpec.Models;

/// <summary>Reads the tokenizer of a Hugging Face folder: tokenizer.json, tokenizer_config.json, chat_template.jinja.</summary>
internal static class TokenizerFolder
{
    /// <summary>The file without which a folder has no tokenizer.</summary>
    public const string TokenizerFile = "tokenizer.json";

    /// <summary>Named tokens and the chat template.</summary>
    public const string ConfigFile = "tokenizer_config.json";

    /// <summary>The chat template in a file of its own.</summary>
    public const string TemplateFile = "chat_template.jinja";

    private const long MaxTokenizerBytes = 256L << 20;
    private const long MaxConfigBytes = 16L << 20;

    /// <summary>Reads a folder.</summary>
    /// <exception cref="ModelFileException">A file is unusable.</exception>
    public static Tokenizer Open(string folder)
    {
        string tokenizer = Path.Combine(folder, TokenizerFile), config = Path.Combine(folder, ConfigFile), template = Path.Combine(folder, TemplateFile);
        using var document = JsonSource.Open(tokenizer, MaxTokenizerBytes);
        using var settings = File.Exists(config) ? JsonSource.Open(config, MaxConfigBytes) : null;
        return Read((tokenizer, document.RootElement), (config, settings?.RootElement), (template, File.Exists(template) ? ReadText(template) : null));
    }

    /// <summary>Reads the files' contents from inside another file.</summary>
    /// <param name="path">That file, for messages.</param>
    /// <param name="tokenizer">tokenizer.json.</param>
    /// <param name="config">tokenizer_config.json, or null.</param>
    /// <param name="template">chat_template.jinja, or null.</param>
    /// <exception cref="ModelFileException">A content is unusable.</exception>
    public static Tokenizer Parse(string path, string tokenizer, string? config, string? template)
    {
        using var document = JsonSource.Parse(path, Encoding.UTF8.GetBytes(tokenizer));
        using var settings = config is null ? null : JsonSource.Parse(path, Encoding.UTF8.GetBytes(config));
        return Read((path, document.RootElement), (path, settings?.RootElement), (path, template));
    }

    private static Tokenizer Read((string Path, JsonElement Json) tokenizer, (string Path, JsonElement? Json) config, (string Path, string? Text) template)
    {
        var tokens = new Dictionary<string, string>();
        string? source = null;
        var templatePath = config.Path;
        if (config.Json is { } json)
        {
            var settings = new JsonSource(config.Path, "", json).Expect(JsonValueKind.Object, "an object");
            foreach (var name in (string[])["bos_token", "eos_token", "pad_token", "unk_token"])
            {
                // Either the text itself or an added token's object.
                var token = settings.Member(name);
                var text = token.Value.ValueKind == JsonValueKind.Object ? token.Member("content").Text() : token.TextOrNull();
                if (text is not null)
                {
                    tokens[name] = text;
                }
            }

            source = ReadTemplate(settings.Member("chat_template"));
        }

        // A template file of its own is the newer form and wins, as in Hugging Face's library.
        if (template.Text is not null)
        {
            (templatePath, source) = template;
        }

        var named = new TokenizerSettings(tokens, source is null ? null : new ChatTemplate(templatePath, source, tokens));
        return new Tokenizer(TokenizerJson.Read(new JsonSource(tokenizer.Path, "", tokenizer.Json), named));
    }

    private static string? ReadTemplate(JsonSource template)
    {
        if (template.Value.ValueKind != JsonValueKind.Array)
        {
            return template.TextOrNull();
        }

        foreach (var named in template.Items())
        {
            if (named.Member("name").Text() == "default")
            {
                return named.Member("template").Text();
            }
        }

        return null;
    }

    private static string ReadText(string path)
    {
        try
        {
            return new FileInfo(path).Length <= MaxConfigBytes
                ? File.ReadAllText(path, Encoding.UTF8)
                : throw new ModelFileException(path, $"the template has more than {MaxConfigBytes:N0} bytes; supply the template that belongs to the model");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new ModelFileException(path, $"the file cannot be read ({e.Message.TrimEnd('.')})", e);
        }
    }
}

/// <summary>What tokenizer_config.json says beside tokenizer.json.</summary>
/// <param name="NamedTokens">Texts of bos_token, eos_token, pad_token, unk_token, as far as given.</param>
/// <param name="Template">The chat template.</param>
internal sealed record TokenizerSettings(IReadOnlyDictionary<string, string> NamedTokens, ChatTemplate? Template);
