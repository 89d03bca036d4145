using System.CommandLine;
using LowLevelSpec.Cli.Options;
using LowLevelSpec.Cli.Output;
using LowLevelSpec.Engine.Decoding;
using LowLevelSpec.Models;
using LowLevelSpec.Remote.Client;

namespace LowLevelSpec.Cli.Remote;

/// <summary><c>llspec generate --server</c>: the drafter here, the target there.</summary>
internal sealed class RemoteRun(CliConsole console, RunArguments run, RemoteArguments remote, JsonArguments json)
{
    /// <summary>Runs a request against the server.</summary>
    public async Task<int> GenerateAsync(ParseResult result, GenerationRequest request)
    {
        RemoteOptions options = remote.Read(result);
        RemoteMethod method = RemoteGenerator.Method(request, remote.Method(result));
        using JsonTarget? file = JsonTarget.Open(json.File(result), run.Inputs(result));
        bool drafts = method is RemoteMethod.Speculative or RemoteMethod.DrafterOnly;
        using ClientModel model = run.OpenClient(result, drafts);
        using Interrupts.Work work = console.Interrupts.Begin();
        RemoteStream stream = new RemoteGenerator(model, options).GenerateAsync(request, method, work.Token);
        RemotePainter? painter = json.ToStandardOutput(result) ? null : new RemotePainter(console);
        bool finished = await DrainAsync(stream, painter).ConfigureAwait(false);
        if (stream.Result is not RemoteResult generation)
        {
            return ExitCode.Interrupted;
        }

        Report(result, RemoteReport.From(options.Server, model.DrafterKind, method, generation), file);
        int unverified = generation.OutputIds.Count - generation.Verified;
        if (finished && unverified > 0 && method != RemoteMethod.DrafterOnly && options.OnReconnect == OnReconnect.Verify)
        {
            throw new InputException($"server {options.Server!.Authority} was lost and not reached again: the last {unverified} tokens are the drafter's alone, not verified");
        }

        return finished ? ExitCode.Well : ExitCode.Interrupted;
    }

    private static async Task<bool> DrainAsync(RemoteStream stream, RemotePainter? painter)
    {
        try
        {
            await foreach (RemoteChunk chunk in stream.ConfigureAwait(false))
            {
                painter?.Write(chunk);
            }

            painter?.Finish();
            return true;
        }
        catch (OperationCanceledException)
        {
            painter?.Finish();
            return false;
        }
    }

    private void Report(ParseResult result, RemoteReport report, JsonTarget? file)
    {
        string line = Json.Line(report);
        file?.Write(line);
        if (json.ToStandardOutput(result))
        {
            console.Out.Write(line);
            return;
        }

        console.Out.WriteLine(report.Text is null ? string.Join(',', report.OutputIds) : "");
        if (console.ErrorIsTerminal)
        {
            console.Error.WriteLine(RemoteReport.Line(report.Statistics));
        }
    }
}
