using System.CommandLine;
using LowLevelSpec.Engine.Decoding;
using LowLevelSpec.Models;

namespace LowLevelSpec.Cli.Options;

/// <summary>What to continue: text, a question for the chat template, or token ids.</summary>
internal sealed class PromptArguments
{
    private readonly Option<string?> _prompt = new("--prompt") { Description = "Text to continue, or - to read it from standard input; control tokens spelled out in it stay text.", HelpName = "TEXT" };
    private readonly Option<string?> _ids = new("--prompt-ids") { Description = "Token ids to continue, e.g. 1,2,3, or - to read them from standard input.", HelpName = "IDS" };
    private readonly Option<bool> _chat = new("--chat") { Description = "The prompt is a user's message: apply the model's chat template." };
    private readonly Option<string?> _system = new("--system") { Description = "System message for --chat.", HelpName = "TEXT" };

    /// <summary>Adds the options to a command.</summary>
    public void AddTo(Command command)
    {
        command.Add(_prompt);
        command.Add(_ids);
        command.Add(_chat);
        command.Add(_system);
    }

    /// <summary>Puts the prompt into a request.</summary>
    /// <exception cref="UsageException">No prompt, two, or options that need another.</exception>
    public GenerationRequest Fill(GenerationRequest request, ParseResult result, TextReader input)
    {
        string? text = result.GetValue(_prompt), ids = result.GetValue(_ids), system = result.GetValue(_system);
        bool chat = result.GetValue(_chat);
        if (text is null == ids is null)
        {
            throw new UsageException(text is null ? "Give a prompt with --prompt or --prompt-ids." : "Give either --prompt or --prompt-ids, not both.");
        }

        if (chat && text is null)
        {
            throw new UsageException("--chat needs text: give it with --prompt.");
        }

        if (system is not null && !chat)
        {
            throw new UsageException("--system is part of a conversation: add --chat.");
        }

        if (ids is not null)
        {
            return request with { PromptIds = TokenIds.Parse("--prompt-ids", Read("--prompt-ids", ids, input)) };
        }

        text = Read("--prompt", text!, input);
        return !chat ? request with { Prompt = text } : request with
        {
            Messages = system is null ? [new ChatMessage("user", text)] : [new ChatMessage("system", system), new ChatMessage("user", text)],
        };
    }

    private static string Read(string option, string value, TextReader input) => value == "-" ? StandardInput.Read(option, input) : value;
}
