namespace LowLevelSpec.Models;

/// <summary>One turn of a conversation.</summary>
/// <param name="Role">"system", "user" or "assistant".</param>
/// <param name="Content">The turn's text.</param>
public sealed record ChatMessage(string Role, string Content);

/// <summary>Byte-level BPE as <c>tokenizer.json</c> or GGUF metadata describe it. Thread-safe.</summary>
public sealed class Tokenizer
{
    private Tokenizer() => throw new NotSupportedException("not built yet");

    /// <summary>Ids the tokenizer knows, added tokens included (highest id + 1).</summary>
    public int VocabularySize { get; }

    /// <summary>Whether texts start with the begin token (Llama-3 does so; the file says it).</summary>
    public bool AddsBeginToken { get; }

    /// <summary>Whether the model brings a chat template.</summary>
    public bool HasChatTemplate { get; }

    /// <summary>The tokenizer that belongs to a model path (folder, .safetensors, .gguf), or null where there is none.</summary>
    /// <exception cref="ModelFileException">A tokenizer file is there and unusable.</exception>
    public static Tokenizer? Open(string modelPath) => null;

    /// <summary>Token ids of a text.</summary>
    /// <param name="text">Any UTF-16 text; lone surrogates become U+FFFD.</param>
    /// <param name="allowSpecial">Whether control tokens spelled out in the text become control tokens. Off for text from outside.</param>
    public int[] Encode(string text, bool allowSpecial = false) => throw new NotSupportedException("not built yet");

    /// <summary>Text of token ids; invalid UTF-8 becomes U+FFFD. Ids without a token (padded vocabulary) decode to nothing.</summary>
    /// <param name="ids">Token ids.</param>
    /// <param name="skipSpecial">Leave control tokens out.</param>
    public string Decode(ReadOnlySpan<int> ids, bool skipSpecial = false) => throw new NotSupportedException("not built yet");

    /// <summary>Whether an id is a control token.</summary>
    public bool IsSpecial(int id) => throw new NotSupportedException("not built yet");

    /// <summary>A streaming detokenizer that never emits half a UTF-8 character.</summary>
    public Detokenizer CreateDetokenizer(bool skipSpecial = true) => throw new NotSupportedException("not built yet");

    /// <summary>The chat template's text for a conversation.</summary>
    /// <exception cref="InputException">The model has no template, or the template refuses the conversation.</exception>
    public string RenderChat(IReadOnlyList<ChatMessage> messages, bool addGenerationPrompt = true) => throw new NotSupportedException("not built yet");

    /// <summary>Token ids of a conversation: the template's own text with control tokens on, the messages' contents with control tokens off.</summary>
    /// <exception cref="InputException">The model has no template, or the template refuses the conversation.</exception>
    public int[] EncodeChat(IReadOnlyList<ChatMessage> messages, bool addGenerationPrompt = true) => throw new NotSupportedException("not built yet");
}

/// <summary>Turns a stream of tokens into a stream of text. One per generation; not thread-safe.</summary>
public sealed class Detokenizer
{
    internal Detokenizer() => throw new NotSupportedException("not built yet");

    /// <summary>Text that became complete with this token; may be empty.</summary>
    public string Add(int token) => throw new NotSupportedException("not built yet");

    /// <summary>What is left at the end (incomplete bytes become U+FFFD).</summary>
    public string Flush() => throw new NotSupportedException("not built yet");
}
