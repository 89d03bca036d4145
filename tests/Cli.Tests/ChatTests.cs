using LowLevelSpec.Cli.Chatting;
using LowLevelSpec.Models;
using Xunit;

namespace LowLevelSpec.Cli.Tests;

/// <summary>Conversations over pipes, and how they are kept within the context.</summary>
public sealed class ChatTests
{
    private static readonly string[] Chat = ["chat", "--model", TinyFiles.Target, "--drafter", TinyFiles.Moa, "--max-new", "8"];

    [Fact]
    public void A_script_gets_one_answer_per_question_and_nothing_after_exit()
    {
        CliRun run = CliRun.With("What is a tree?\n\nAnd a cache?\n/stats\n/exit\nWhat is this?\n", Chat);
        Assert.Equal(0, run.Code);
        Assert.Equal(2, run.Out.TrimEnd('\n').Split('\n').Length);
        Assert.Contains("answers: 2", run.Error);
        Assert.Equal(2, run.Error.Split("prefill of").Length - 1);
    }

    [Fact]
    public void Reset_forgets_what_was_said()
    {
        CliRun run = CliRun.With("What is a tree?\n/reset\nWhat is a tree?\n", Chat);
        string[] answers = run.Out.TrimEnd('\n').Split('\n');
        Assert.Equal(answers[0], answers[1]);
        Assert.Contains("forgotten", run.Error);
    }

    [Fact]
    public void Unknown_commands_and_help_are_answered_without_the_model()
    {
        CliRun run = CliRun.With("/frob\n/help\n/stats\n", Chat);
        Assert.Equal(0, run.Code);
        Assert.Empty(run.Out);
        Assert.Contains("/frob is no command", run.Error);
        Assert.Contains("No answers yet", run.Error);
    }

    [Fact]
    public void A_long_conversation_loses_its_oldest_turns_and_says_so()
    {
        string questions = string.Concat(Enumerable.Repeat("What does the drafter see when the link is cut?\n", 8));
        CliRun run = CliRun.With(questions, [.. Chat, "--context-length", "160"]);
        Assert.Equal(0, run.Code);
        Assert.Contains("outgrown the context of 160 tokens", run.Error);
        Assert.Equal(8, run.Out.TrimEnd('\n').Split('\n').Length);
    }

    [Fact]
    public void A_message_beyond_the_context_is_refused_and_the_chat_goes_on()
    {
        CliRun run = CliRun.With(new string('x', 500) + "\nHello\n", [.. Chat, "--context-length", "100"]);
        Assert.Equal(0, run.Code);
        Assert.Contains("shorten it", run.Error);
        Assert.Single(run.Out.TrimEnd('\n').Split('\n'));
    }

    [Fact]
    public void Dropping_keeps_the_system_message_and_begins_with_a_question()
    {
        Conversation conversation = new("be brief");
        for (int i = 0; i < 4; i++)
        {
            conversation.Add("user", $"question {i}");
            conversation.Add("assistant", $"answer {i}");
        }

        conversation.Add("user", "last");
        int dropped = conversation.DropOldest(static messages => messages.Count, 5);
        Assert.Equal(6, dropped);
        Assert.Equal(["system", "user", "assistant", "user"], conversation.Messages.Select(static m => m.Role));
        Assert.Equal(0, conversation.DropOldest(static messages => messages.Count, 5));
        Assert.Equal(2, conversation.DropOldest(static _ => int.MaxValue, 1));
        Assert.Equal(new ChatMessage("user", "last"), conversation.Messages[^1]);
    }
}
