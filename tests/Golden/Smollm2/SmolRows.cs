namespace LowLevelSpec.Golden;

/// <summary>A line of transcripts.jsonl.</summary>
internal sealed record SmolTranscript
{
    public string Set { get; init; } = "";

    public int QuestionId { get; init; }

    public string? User { get; init; }

    public required int[] PromptIds { get; init; }

    public required int[] OutputIds { get; init; }

    public string? Text { get; init; }

    public required List<SmolStep> Top20 { get; init; }
}

/// <summary>The best logits of one step, best first.</summary>
internal sealed record SmolStep
{
    public required int[] Ids { get; init; }

    public required float[] Logits { get; init; }

    /// <summary>Distance between the two best.</summary>
    public float Gap => Logits.Length < 2 ? float.PositiveInfinity : Logits[0] - Logits[1];
}

/// <summary>A line of likelihood.jsonl.</summary>
internal sealed record SmolLikelihood
{
    public required int[] Ids { get; init; }

    public required double[] Nll { get; init; }

    public required double MeanNll { get; init; }
}

/// <summary>A line of moa-transcripts.jsonl.</summary>
internal sealed record SmolMoaTranscript
{
    public string Set { get; init; } = "";

    public int QuestionId { get; init; }

    public required int[] Tree { get; init; }

    public required int[] PromptIds { get; init; }

    public required int[] OutputIds { get; init; }

    public required int[] Emitted { get; init; }

    public required int TargetCalls { get; init; }
}
