using LowLevelSpec.Cli.Output;
using LowLevelSpec.Engine;
using LowLevelSpec.Engine.Decoding;
using LowLevelSpec.Models;

namespace LowLevelSpec.Cli.Chatting;

/// <summary>Reads questions and writes answers until the input ends.</summary>
/// <param name="console">Answers go to its output, everything else to its error stream, so that a script gets answers alone.</param>
/// <param name="model">The target, with tokenizer and template.</param>
/// <param name="request">Everything but the messages.</param>
/// <param name="conversation">The turns.</param>
internal sealed class ChatSession(CliConsole console, LanguageModel model, GenerationRequest request, Conversation conversation)
{
    private const string Help = "/exit leaves, /reset forgets the conversation, /stats shows the figures of all answers, /help this; Ctrl-C stops an answer.";

    private readonly Tokenizer _tokenizer = model.Tokenizer!;
    private int _answers, _passes, _committed;
    private double _seconds;

    /// <summary>Runs the chat; the exit code.</summary>
    public async Task<int> RunAsync()
    {
        Greet();
        while (ReadLine() is string line)
        {
            switch (line.Trim())
            {
                case "":
                    break;
                case "/exit":
                    return ExitCode.Well;
                case "/reset":
                    conversation.Clear();
                    console.Error.WriteLine("The conversation is forgotten.");
                    break;
                case "/stats":
                    console.Error.WriteLine(Stats());
                    break;
                case "/help":
                    console.Error.WriteLine(Help);
                    break;
                case ['/', .. string word] when !word.Contains(' '):
                    console.Error.WriteLine($"/{word} is no command. {Help}");
                    break;
                default:
                    await AnswerAsync(line).ConfigureAwait(false);
                    break;
            }
        }

        return ExitCode.Well;
    }

    private void Greet()
    {
        if (!console.InIsTerminal)
        {
            return;
        }

        console.Error.WriteLine($"{model.BackendName}, drafter {request.Drafter?.Kind ?? "none"}. {Help}");
        if (new TokenPainter(console, _tokenizer, colour: true).Legend is string legend)
        {
            console.Error.WriteLine(legend);
        }
    }

    private string? ReadLine()
    {
        if (console.InIsTerminal)
        {
            console.Error.Write("> ");
        }

        return console.In.ReadLine();
    }

    private async Task AnswerAsync(string question)
    {
        conversation.Add("user", question);
        if (!MakeRoom())
        {
            conversation.RemoveLast();
            return;
        }

        using Interrupts.Work work = console.Interrupts.Begin();
        GenerationStream stream = model.GenerateAsync(request with { Messages = conversation.Messages }, work.Token);
        bool finished = await TokenPainter.DrainAsync(stream, new TokenPainter(console, _tokenizer, colour: true)).ConfigureAwait(false);
        console.Out.WriteLine();
        GenerationResult? result = stream.Result;
        if (result?.Text is { Length: > 0 } text)
        {
            conversation.Add("assistant", text);
        }
        else
        {
            conversation.RemoveLast();
        }

        if (result is not null)
        {
            Count(result.Statistics);
            console.Error.WriteLine((finished ? "" : "stopped; ") + GenerationReport.Line(result.Statistics));
        }
    }

    /// <summary>Keeps the conversation within the context; false where the question alone is too long.</summary>
    private bool MakeRoom()
    {
        // Without some room an answer would end after a word; a quarter of the context is the least that a conversation leaves.
        int room = Math.Min(request.MaxNewTokens, Math.Max(1, model.ContextLength / 4));
        int dropped = conversation.DropOldest(messages => _tokenizer.EncodeChat(messages).Length, model.ContextLength - room);
        if (dropped > 0)
        {
            console.Error.WriteLine($"The conversation has outgrown the context of {model.ContextLength} tokens: its {dropped} oldest turns are left out from here on (/reset forgets all).");
        }

        int tokens = _tokenizer.EncodeChat(conversation.Messages).Length;
        if (tokens < model.ContextLength)
        {
            return true;
        }

        console.Error.WriteLine($"This message has {tokens} tokens and the context {model.ContextLength}: shorten it.");
        return false;
    }

    private void Count(GenerationStatistics figures)
    {
        _answers++;
        _passes += figures.TargetPasses;
        _committed += Math.Max(0, figures.NewTokens - 1);
        _seconds += figures.DraftSeconds + figures.VerifySeconds + figures.OtherSeconds;
    }

    private string Stats() => _answers == 0
        ? "No answers yet."
        : $"{_answers} answers, {_committed} tokens in {_passes} passes after prefill, tau {Json.Ratio(_committed, _passes) ?? 0:0.00}, {Json.Ratio(_committed, _seconds) ?? 0:0.0} tokens/s";
}
