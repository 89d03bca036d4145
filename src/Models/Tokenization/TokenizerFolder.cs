using System.Text;

namespace LowLevelSpec.Models;

/// <summary>Reads the tokenizer of a Hugging Face folder: tokenizer.json, tokenizer_config.json, chat_template.jinja.</summary>
internal static class TokenizerFolder
{
    /// <summary>The file without which a folder has no tokenizer.</summary>
    public const string TokenizerFile = "tokenizer.json";

    private const string ConfigFile = "tokenizer_config.json";
    private const string TemplateFile = "chat_template.jinja";
    private const long MaxTokenizerBytes = 256L << 20;
    private const long MaxConfigBytes = 16L << 20;

    /// <summary>Reads a folder.</summary>
    /// <exception cref="ModelFileException">A file is unusable.</exception>
    public static Tokenizer Open(string folder)
    {
        var settings = ReadSettings(folder);
        using var document = JsonSource.Open(Path.Combine(folder, TokenizerFile), MaxTokenizerBytes);
        return new Tokenizer(TokenizerJson.Read(new JsonSource(Path.Combine(folder, TokenizerFile), "", document.RootElement), settings));
    }

    private static TokenizerSettings ReadSettings(string folder)
    {
        var tokens = new Dictionary<string, string>();
        string? template = null;
        var templatePath = Path.Combine(folder, ConfigFile);
        if (File.Exists(templatePath))
        {
            using var document = JsonSource.Open(templatePath, MaxConfigBytes);
            var config = new JsonSource(templatePath, "", document.RootElement).Expect(System.Text.Json.JsonValueKind.Object, "an object");
            foreach (var name in (string[])["bos_token", "eos_token", "pad_token", "unk_token"])
            {
                // Either the text itself or an added token's object.
                var token = config.Member(name);
                var text = token.Value.ValueKind == System.Text.Json.JsonValueKind.Object ? token.Member("content").Text() : token.TextOrNull();
                if (text is not null)
                {
                    tokens[name] = text;
                }
            }

            template = ReadTemplate(config.Member("chat_template"));
        }

        // A template file of its own is the newer form and wins, as in Hugging Face's library.
        if (File.Exists(Path.Combine(folder, TemplateFile)))
        {
            templatePath = Path.Combine(folder, TemplateFile);
            template = ReadText(templatePath);
        }

        return new TokenizerSettings(tokens, template is null ? null : new ChatTemplate(templatePath, template, tokens));
    }

    private static string? ReadTemplate(JsonSource template)
    {
        if (template.Value.ValueKind != System.Text.Json.JsonValueKind.Array)
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
