using System.CommandLine;
using LowLevelSpec.Cli.Chatting;
using LowLevelSpec.Cli.Options;
using LowLevelSpec.Engine;
using LowLevelSpec.Engine.Decoding;
using LowLevelSpec.Engine.Drafting;
using LowLevelSpec.Models;

namespace LowLevelSpec.Cli.Commands;

/// <summary><c>llspec chat</c>: a conversation on the terminal, or over pipes.</summary>
internal sealed class ChatCommand : Command
{
    private readonly CliConsole _console;
    private readonly RunArguments _run = new(drafterRequired: false);
    private readonly Option<string?> _system = new("--system") { Description = "System message.", HelpName = "TEXT" };

    public ChatCommand(CliConsole console)
        : base("chat", "Talk with a model; /help lists the commands.")
    {
        _console = console;
        _run.AddTo(this);
        Add(_system);
        SetAction((result, _) => RunAsync(result));
    }

    private async Task<int> RunAsync(ParseResult result)
    {
        GenerationRequest request = _run.Request(result);
        string path = _run.ModelPath(result);
        using LanguageModel model = _run.OpenModel(result);
        if (model.Tokenizer is not { HasChatTemplate: true })
        {
            throw new InputException($"{path}: comes without a {(model.Tokenizer is null ? "tokenizer" : "chat template")}, so it can't chat; use generate");
        }

        using Drafter? drafter = _run.OpenDrafter(result, model);
        ChatSession session = new(_console, model, request with { Drafter = drafter }, new Conversation(result.GetValue(_system)));
        return await session.RunAsync().ConfigureAwait(false);
    }
}
