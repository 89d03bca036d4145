namespace LowLevelSpec.Cli.Benchmarking;

/// <summary>A pass over several rows behind the context.</summary>
internal sealed record RowsReport
{
    /// <summary>Tokens of the pass.</summary>
    public required int Rows { get; init; }

    /// <summary>Median milliseconds, the logits of one row included.</summary>
    public required double Ms { get; init; }

    /// <summary>Spread of <see cref="Ms"/>.</summary>
    public required Spread Spread { get; init; }

    /// <summary>Times a pass over one row.</summary>
    public required double Relative { get; init; }

    /// <summary>llama-bench's test pp of as many tokens behind the same context, median milliseconds.</summary>
    public double? PeerMs { get; init; }

    /// <summary>Times llama-bench's pp of one token.</summary>
    public double? PeerRelative { get; init; }
}

/// <summary>Speculation against plain decoding over one file of prompts, interleaved.</summary>
internal sealed record SetReport
{
    /// <summary>The file, or "built-in".</summary>
    public required string Prompts { get; init; }

    /// <summary>Plain decoding after prefill, tokens per second.</summary>
    public required double PlainTokensPerSecond { get; init; }

    /// <summary>Speculative decoding after prefill, tokens per second.</summary>
    public required double SpeculativeTokensPerSecond { get; init; }

    /// <summary>Median over the repeats of plain time / speculative time.</summary>
    public required double Speedup { get; init; }

    /// <summary>Spread of <see cref="Speedup"/>.</summary>
    public required Spread Spread { get; init; }

    /// <summary>Tokens per target pass.</summary>
    public required double Tau { get; init; }
}

/// <summary>Speculation with one drafter.</summary>
internal sealed record SpeculativeReport
{
    /// <summary>Kind of drafter.</summary>
    public required string Drafter { get; init; }

    /// <summary>The tree as given: auto, or depth,breadth,total.</summary>
    public required string Tree { get; init; }

    /// <summary>Mean over the sets of <see cref="SetReport.Speedup"/>.</summary>
    public required double MeanSpeedup { get; init; }

    /// <summary>Mean over the sets of <see cref="SetReport.SpeculativeTokensPerSecond"/>.</summary>
    public required double MeanTokensPerSecond { get; init; }

    /// <summary>The mean over llama-bench's decoding; null without a peer.</summary>
    public double? OverPeer { get; init; }

    /// <summary>Per file of prompts.</summary>
    public required IReadOnlyList<SetReport> Sets { get; init; }
}

/// <summary>Everything measured with one number of threads. Rates and times are medians.</summary>
internal sealed record ThreadsReport
{
    /// <summary>Threads of both engines.</summary>
    public required int Threads { get; init; }

    /// <summary>Plain decoding behind the context, the whole loop.</summary>
    public required double DecodeTokensPerSecond { get; init; }

    /// <summary>Spread of <see cref="DecodeTokensPerSecond"/>.</summary>
    public required Spread DecodeSpread { get; init; }

    /// <summary>llama-bench's tg behind the same context; null without a peer.</summary>
    public double? PeerTokensPerSecond { get; init; }

    /// <summary>Spread of <see cref="PeerTokensPerSecond"/>.</summary>
    public Spread? PeerSpread { get; init; }

    /// <summary>Our decoding over the peer's.</summary>
    public double? DecodeOverPeer { get; init; }

    /// <summary>Streaming read with as many threads, 10^9 bytes per second.</summary>
    public required double ReadBandwidthGbPerSecond { get; init; }

    /// <summary>Bytes of weights per token times decoding, over the read bandwidth with as many threads.</summary>
    public required double DecodeShareOfBandwidth { get; init; }

    /// <summary>The same of the peer.</summary>
    public double? PeerShareOfBandwidth { get; init; }

    /// <summary>Tokens of the prompt of the following figures.</summary>
    public required int PromptTokens { get; init; }

    /// <summary>Prompt tokens over the time to the first token.</summary>
    public required double PromptTokensPerSecond { get; init; }

    /// <summary>From the request to the first token.</summary>
    public required double TimeToFirstTokenMs { get; init; }

    /// <summary>Spread of <see cref="TimeToFirstTokenMs"/>.</summary>
    public required Spread TimeToFirstTokenSpread { get; init; }

    /// <summary>llama-bench's pp of as many tokens.</summary>
    public double? PeerPromptTokensPerSecond { get; init; }

    /// <summary>Our rate over the peer's.</summary>
    public double? PromptOverPeer { get; init; }

    /// <summary>Passes over several rows.</summary>
    public required IReadOnlyList<RowsReport> Rows { get; init; }

    /// <summary>Speculation; null without a drafter.</summary>
    public SpeculativeReport? Speculative { get; init; }
}

/// <summary>A whole run: what <c>bench --json</c> writes.</summary>
internal sealed record BenchReport
{
    /// <summary>The model's path.</summary>
    public required string Model { get; init; }

    /// <summary>Bytes of weights a pass reads.</summary>
    public required long PassBytes { get; init; }

    /// <summary>What ran it, e.g. "cpu 256-bit".</summary>
    public required string Backend { get; init; }

    /// <summary>How keys and values are stored: f32, f16 or bf16.</summary>
    public string KvType { get; init; } = "f32";

    /// <summary>The processor's name, null where the system does not say.</summary>
    public required string? Processor { get; init; }

    /// <summary>Cores the process may use.</summary>
    public required int Cores { get; init; }

    /// <summary>When it ended, UTC.</summary>
    public required DateTime Time { get; init; }

    /// <summary>Interleaved rounds that the medians are taken over.</summary>
    public required int Repeats { get; init; }

    /// <summary>Tokens in front of decoding and of the passes over rows.</summary>
    public required int Context { get; init; }

    /// <summary>llama-bench's own build number and commit; null without a peer.</summary>
    public string? Peer { get; init; }

    /// <summary>Streaming read, the best of the tested thread counts, 10^9 bytes per second.</summary>
    public required double ReadBandwidthGbPerSecond { get; init; }

    /// <summary>Per number of threads, in the order given.</summary>
    public required IReadOnlyList<ThreadsReport> Threads { get; init; }
}
