using LowLevelSpec.Models.Jinja;

namespace LowLevelSpec.Models;

/// <summary>A model's chat template. Thread-safe; read on first use, so that a template that is not supported spoils only chats.</summary>
internal sealed class ChatTemplate(string path, string source, IReadOnlyDictionary<string, string> namedTokens)
{
    private const int MaxSourceLength = 1 << 20;

    // A real conversation needs about ten units per character and some hundreds per message; an endless loop reaches these limits
    // within about a second and some hundred megabytes.
    private const long BaseUnits = 1L << 22;
    private const long UnitsPerMessage = 1L << 12;
    private const long UnitsPerCharacter = 32;

    private readonly Lazy<IReadOnlyList<Statement>> _statements = new(() => Parse(path, source));

    /// <summary>The text for a conversation; what came from the messages is marked as from outside.</summary>
    /// <exception cref="InputException">The template is unusable or refuses the conversation.</exception>
    public TemplateText Render(IReadOnlyList<ChatMessage> messages, bool addGenerationPrompt)
    {
        var statements = _statements.Value;
        var units = BaseUnits;
        var list = new List<object?>(messages.Count);
        foreach (var message in messages)
        {
            if (message?.Role is null || message.Content is null)
            {
                throw new InputException("a message has no role or no content; give every message both");
            }

            var dict = new TemplateDict();
            dict.Items[TemplateText.Own("role")] = TemplateText.FromOutside(message.Role);
            dict.Items[TemplateText.Own("content")] = TemplateText.FromOutside(message.Content);
            list.Add(dict);
            units += UnitsPerMessage + UnitsPerCharacter * (message.Role.Length + message.Content.Length);
        }

        var variables = namedTokens.Select(token => KeyValuePair.Create(token.Key, (object?)TemplateText.Own(token.Value))).Concat(
        [
            KeyValuePair.Create("messages", (object?)new TemplateList(list)),
            KeyValuePair.Create("add_generation_prompt", (object?)addGenerationPrompt),
            KeyValuePair.Create("tools", (object?)null),
            KeyValuePair.Create("documents", (object?)null),
        ]);
        try
        {
            return Interpreter.Run(statements, variables, DateTime.Now, units);
        }
        catch (TemplateException e) when (e.RaisedByTemplate)
        {
            throw new InputException($"the model's chat template refuses the conversation: {e.Message}", e);
        }
        catch (TemplateException e)
        {
            throw new ModelFileException(path, $"chat template, line {e.Line}: {e.Message}", e);
        }
    }

    private static IReadOnlyList<Statement> Parse(string path, string source)
    {
        if (source.Length > MaxSourceLength)
        {
            throw new ModelFileException(path, $"the chat template has {source.Length:N0} characters, expected at most {MaxSourceLength:N0}; supply the template that belongs to the model");
        }

        try
        {
            return Parser.Parse(source);
        }
        catch (TemplateException e)
        {
            throw new ModelFileException(path, $"chat template, line {e.Line}: {e.Message}", e);
        }
    }
}
