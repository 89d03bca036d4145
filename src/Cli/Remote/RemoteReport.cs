using LowLevelSpec.Engine.Decoding;
using LowLevelSpec.Remote.Client;

namespace LowLevelSpec.Cli.Remote;

/// <summary>One remote generation for programs: what <c>generate --server --json</c> prints.</summary>
internal sealed record RemoteReport
{
    /// <summary>The server's address; null where the drafter wrote alone.</summary>
    public required string? Server { get; init; }

    /// <summary>Kind of drafter.</summary>
    public required string Drafter { get; init; }

    /// <summary>How tokens were won.</summary>
    public required RemoteMethod Method { get; init; }

    /// <summary>The prompt as the target read it.</summary>
    public required IReadOnlyList<int> PromptIds { get; init; }

    /// <summary>New tokens.</summary>
    public required IReadOnlyList<int> OutputIds { get; init; }

    /// <summary>How many of them the target chose or confirmed.</summary>
    public required int Verified { get; init; }

    /// <summary>Their text; null without a tokenizer.</summary>
    public required string? Text { get; init; }

    /// <summary>stop, length or cancelled.</summary>
    public required FinishReason FinishReason { get; init; }

    /// <summary>Figures.</summary>
    public required RemoteStatistics Statistics { get; init; }

    /// <summary>The report of a generation.</summary>
    public static RemoteReport From(Uri? server, string drafter, RemoteMethod method, RemoteResult result) => new()
    {
        Server = server?.Authority,
        Drafter = drafter,
        Method = method,
        PromptIds = result.PromptIds,
        OutputIds = result.OutputIds,
        Verified = result.Verified,
        Text = result.Text,
        FinishReason = result.FinishReason,
        Statistics = result.Statistics,
    };

    /// <summary>The figures in one line for people.</summary>
    public static string Line(RemoteStatistics figures)
    {
        double perToken = figures.NewTokens <= 1 ? 0 : 1000 * figures.SecondsAfterFirstToken / (figures.NewTokens - 1);
        return $"{figures.NewTokens} tokens in {figures.Calls} calls, tau {figures.Tau:0.00}, {perToken:0.0} ms per token, first after {figures.SecondsToFirstToken:0.00} s, round trip {figures.RoundTripMilliseconds:0.0} ms, reconnects {figures.Reconnects}, taken back {figures.RolledBack}";
    }
}
