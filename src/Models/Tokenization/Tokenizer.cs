using System.Buffers;
using System.Text;

namespace LowLevelSpec.Models;

/// <summary>Byte-level BPE as <c>tokenizer.json</c> or GGUF metadata describe it. Thread-safe.</summary>
/// <remarks>
/// Ids are those of Hugging Face <c>tokenizers</c> with <c>add_special_tokens=False</c>: the file's post-processor adds nothing,
/// a prompt's control tokens come from the chat template or from the caller.
/// </remarks>
public sealed class Tokenizer
{
    private readonly TokenTable _tokens;
    private readonly byte[]?[] _bytes;
    private readonly string?[] _texts;
    private readonly bool[] _special;
    private readonly TextEncoder _encoder;
    private readonly ChatTemplate? _template;

    internal Tokenizer(TokenizerParts parts)
    {
        _tokens = parts.Tokens;
        VocabularySize = Math.Max(_tokens.IdLimit, parts.AddedTokens.Count == 0 ? 0 : parts.AddedTokens.Max(t => t.Id) + 1);
        _special = new bool[VocabularySize];
        foreach (var token in parts.AddedTokens)
        {
            _special[token.Id] |= token.Special;
        }

        _bytes = DecodedBytes(parts, VocabularySize);
        _texts = new string?[VocabularySize];
        _encoder = new TextEncoder(parts, _special);
        _template = parts.Template;
        BosTokenId = parts.BosId;
        EosTokenId = parts.EosId;
        AddsBeginToken = parts.AddsBegin && parts.BosId is not null;
    }

    /// <summary>Ids the tokenizer knows, added tokens included (highest id + 1).</summary>
    public int VocabularySize { get; }

    /// <summary>Whether the model brings a chat template.</summary>
    public bool HasChatTemplate => _template is not null;

    /// <summary>Whether a text is fed with <see cref="BosTokenId"/> in front: Llama-3's files say so. <see cref="Encode"/> never adds it.</summary>
    public bool AddsBeginToken { get; }

    /// <summary>The token that begins a text, if the tokenizer's files name one.</summary>
    public int? BosTokenId { get; }

    /// <summary>The token that ends a turn or text, if the tokenizer's files name one.</summary>
    public int? EosTokenId { get; }

    /// <summary>The tokenizer that belongs to a model path (folder, .safetensors, .gguf), or null where there is none.</summary>
    /// <exception cref="ModelFileException">A tokenizer file is there and unusable.</exception>
    public static Tokenizer? Open(string modelPath)
    {
        ArgumentException.ThrowIfNullOrEmpty(modelPath);
        if (modelPath.EndsWith(".gguf", StringComparison.OrdinalIgnoreCase))
        {
            return OpenGguf(modelPath);
        }

        var folder = Directory.Exists(modelPath) ? modelPath : Path.GetDirectoryName(Path.GetFullPath(modelPath));
        if (folder is null || !Directory.Exists(folder))
        {
            return null;
        }

        if (File.Exists(Path.Combine(folder, TokenizerFolder.TokenizerFile)))
        {
            return TokenizerFolder.Open(folder);
        }

        // A folder that stands for its one GGUF file brings that file's tokenizer.
        return Directory.Exists(modelPath) && Directory.GetFiles(folder, "*.gguf") is [var only] ? OpenGguf(only) : null;
    }

    private static Tokenizer? OpenGguf(string path)
    {
        using var file = GgufFile.Open(path);
        return GgufTokenizer.TryCreate(path, file.Metadata);
    }

    /// <summary>The tokenizer that a GGUF file's metadata describe, or null where they describe none.</summary>
    /// <exception cref="ModelFileException">The metadata are unusable.</exception>
    internal static Tokenizer? FromGgufMetadata(string path, IReadOnlyDictionary<string, object> metadata)
        => GgufTokenizer.TryCreate(path, metadata);

    /// <summary>Token ids of a text.</summary>
    /// <param name="text">Any UTF-16 text; lone surrogates become U+FFFD.</param>
    /// <param name="allowSpecial">Whether control tokens spelled out in the text become control tokens. Off for text from outside.</param>
    public int[] Encode(string text, bool allowSpecial = false)
    {
        ArgumentNullException.ThrowIfNull(text);
        return _encoder.Encode(text, allowSpecial);
    }

    /// <summary>Text of token ids; invalid UTF-8 becomes U+FFFD. Ids without a token (padded vocabulary) decode to nothing.</summary>
    /// <param name="ids">Token ids.</param>
    /// <param name="skipSpecial">Leave control tokens out.</param>
    public string Decode(ReadOnlySpan<int> ids, bool skipSpecial = false)
    {
        var bytes = new ArrayBufferWriter<byte>(Math.Max(16, ids.Length * 4));
        foreach (var id in ids)
        {
            bytes.Write(BytesOf(id, skipSpecial));
        }

        return Encoding.UTF8.GetString(bytes.WrittenSpan);
    }

    /// <summary>Whether an id is a control token.</summary>
    public bool IsSpecial(int id) => (uint)id < (uint)_special.Length && _special[id];

    /// <summary>The id of a token by its exact text in the vocabulary or among the added tokens, or null.</summary>
    /// <param name="token">For added tokens the text itself, for others the text as the vocabulary spells it.</param>
    public int? FindToken(string token)
    {
        ArgumentNullException.ThrowIfNull(token);
        return _encoder.FindAdded(token) ?? (_tokens.TryGetId(Encoding.UTF8.GetBytes(token), out var id) ? id : null);
    }

    /// <summary>A streaming detokenizer that never emits half a UTF-8 character.</summary>
    public Detokenizer CreateDetokenizer(bool skipSpecial = true) => new(this, skipSpecial);

    /// <summary>The chat template's text for a conversation.</summary>
    /// <exception cref="InputException">The model has no template, or the template refuses the conversation.</exception>
    public string RenderChat(IReadOnlyList<ChatMessage> messages, bool addGenerationPrompt = true)
        => Render(messages, addGenerationPrompt).Value;

    /// <summary>Token ids of a conversation: the template's own text with control tokens on, the messages' contents with control tokens off.</summary>
    /// <exception cref="InputException">The model has no template, or the template refuses the conversation.</exception>
    public int[] EncodeChat(IReadOnlyList<ChatMessage> messages, bool addGenerationPrompt = true)
    {
        var rendered = Render(messages, addGenerationPrompt);
        return _encoder.EncodeMixed(rendered.Value, new OutsideText(rendered.Outside));
    }

    /// <summary>The bytes an id decodes to.</summary>
    internal ReadOnlySpan<byte> BytesOf(int id, bool skipSpecial)
        => (uint)id < (uint)_bytes.Length && !(skipSpecial && _special[id]) ? _bytes[id] : default;

    /// <summary>The text of an id whose bytes are complete UTF-8 on their own (made once per id), or null.</summary>
    internal string? WholeText(int id)
    {
        // Two threads may both make the string; either will do.
        if (_texts[id] is { } text)
        {
            return text;
        }

        return System.Text.Unicode.Utf8.IsValid(_bytes[id]) ? _texts[id] = Encoding.UTF8.GetString(_bytes[id] ?? []) : null;
    }

    private Jinja.TemplateText Render(IReadOnlyList<ChatMessage> messages, bool addGenerationPrompt)
    {
        ArgumentNullException.ThrowIfNull(messages);
        return _template is null
            ? throw new InputException("the model has no chat template; send a plain prompt, or use a model whose tokenizer_config.json or GGUF metadata hold one")
            : _template.Render(messages, addGenerationPrompt);
    }

    private static byte[]?[] DecodedBytes(TokenizerParts parts, int size)
    {
        var bytes = new byte[]?[size];
        Span<char> chars = stackalloc char[256];
        for (var id = 0; id < parts.Tokens.IdLimit; id++)
        {
            if (!parts.Tokens.Contains(id) || parts.Undecoded.Contains(id))
            {
                continue;
            }

            // A text outside the byte alphabet stands for itself, as in Hugging Face's decoder.
            var utf8 = parts.Tokens.Utf8(id);
            bytes[id] = (utf8.Length <= chars.Length
                    ? ByteAlphabet.Decode(chars[..Encoding.UTF8.GetChars(utf8, chars)])
                    : ByteAlphabet.Decode(Encoding.UTF8.GetString(utf8)))
                ?? utf8.ToArray();
        }

        // An added token that is in the vocabulary too may be reached through merges: in tokenizer.json it is then written in the
        // byte alphabet like the rest. GGUF files write added tokens plainly.
        foreach (var token in parts.AddedTokens)
        {
            if (parts.AddedTokensArePlain || !parts.Tokens.Contains(token.Id))
            {
                bytes[token.Id] = Encoding.UTF8.GetBytes(token.Content);
            }
        }

        return bytes;
    }
}
