using System.Globalization;
using System.Text.RegularExpressions;

namespace LowLevelSpec.Golden;

/// <summary>A row of the tolerance table.</summary>
/// <param name="Name">Group, as the golden README names it.</param>
/// <param name="Absolute">Largest absolute difference allowed; 0 = exact.</param>
/// <param name="Origin">Where the number comes from.</param>
internal sealed record Tolerance(string Name, double Absolute, string Origin);

/// <summary>
/// Every tolerance of the checker. Those of the golden README are 20 times the largest difference between the reference in float32
/// and in float64: room for another summation order, and far below what any mistake costs.
/// </summary>
internal static partial class Tolerances
{
    private const string Readme = "golden README, recommended tolerances";
    private const string SmolReadme = "smollm2 README";

    public static Tolerance Exact { get; } = new("ids, positions, masks", 0, Readme);

    public static Tolerance TargetHidden { get; } = new("target hidden states", 3e-4, Readme);

    public static Tolerance TargetLogits { get; } = new("target logits", 2e-4, Readme);

    public static Tolerance TargetKv { get; } = new("target K, V", 7e-5, Readme);

    public static Tolerance Lsa { get; } = new("LSA layer output, mean", 2e-4, Readme);

    public static Tolerance Ekv2E { get; } = new("Ekv2E output", 2e-4, Readme);

    public static Tolerance CrossKv { get; } = new("CA keys, values", 4e-5, Readme);

    public static Tolerance SelfOutput { get; } = new("SA output", 5e-5, Readme);

    public static Tolerance CrossOutput { get; } = new("CA output", 4e-5, Readme);

    public static Tolerance DrafterLogits { get; } = new("drafter logits", 2e-4, Readme);

    public static Tolerance SelfCache { get; } = new("SA cache", 4e-5, Readme);

    public static Tolerance TreeLogProbabilities { get; } = new("tree log-probabilities", 1e-4, Readme);

    public static Tolerance VerifyHidden { get; } = new("target hidden states in tree verification", 2e-4, Readme);

    public static Tolerance VerifyLogits { get; } = new("target logits in tree verification", 2e-4, Readme);

    public static Tolerance EagleFcOutput { get; } = new("EAGLE fc output", 4e-5, Readme);

    public static Tolerance EagleLayerOutput { get; } = new("EAGLE layer output", 7e-5, Readme);

    public static Tolerance EagleLogits { get; } = new("EAGLE logits", 1e-4, Readme);

    /// <summary>The README has no row for it: embeddings are exact, features are normed target states or the layer's own outputs; the tighter of the two rows.</summary>
    public static Tolerance EagleFcInput { get; } = new("EAGLE fc input", 7e-5, "golden README, EAGLE layer output");

    /// <summary>An inversion in the order of a tree's nodes, or another tree, is rounding only where the scores that decide lie closer than this.</summary>
    public static Tolerance SelectionGap { get; } = new("selection gap", 2e-5, "golden README, min_selection_gap");

    /// <summary>The transcripts' tau has three decimals or more.</summary>
    public static Tolerance Tau { get; } = new("tau", 1e-3, "rounding in the transcripts");

    /// <summary>Float32 noise over 30 layers is about 1e-3: below this gap between the two best logits a step may legitimately fork.</summary>
    public static Tolerance SmolGap { get; } = new("SmolLM2 logits", 0.02, SmolReadme);

    /// <summary>Per token relative to one nat or the value, whichever is larger; the mean relative to itself.</summary>
    public static Tolerance SmolLikelihood { get; } = new("SmolLM2 likelihood", 0.01, SmolReadme);

    /// <summary>Pooled acceptance length, relative.</summary>
    public static Tolerance SmolTau { get; } = new("SmolLM2 tau", 0.03, SmolReadme);

    /// <summary>Logits of a drafter with target layer inference.</summary>
    public static Tolerance TliLogits(int layers) => layers switch
    {
        0 => DrafterLogits,
        1 => new("TLI 1 logits", 2e-4, Readme),
        3 => new("TLI 3 logits", 1e-4, Readme),
        _ => new(string.Create(CultureInfo.InvariantCulture, $"TLI {layers} logits"), 1e-4, "golden README, TLI 3 logits"),
    };

    /// <summary>The group of a tensor of forward.safetensors; null for a name that the README does not list.</summary>
    public static Tolerance? Moa(string name) => Stage(name) switch
    {
        "target.hidden" or "target.last_layer_output" => TargetHidden,
        "target.logits" => TargetLogits,
        "target.k" or "target.v" or "lsa.input" => TargetKv,
        "lsa.output" or "lsa.mean" => Lsa,
        "ekv2e.output" => Ekv2E,
        "ca.k" or "ca.v" => CrossKv,
        "draft.sa_output" => SelfOutput,
        "draft.sa_cache_k" or "draft.sa_cache_v" => SelfCache,
        "draft.ca_output" => CrossOutput,
        "draft.logits" => DrafterLogits,
        "draft.input_ids" or "draft.sa_positions" or "draft.sa_mask" or "draft.ca_position" => Exact,
        "frontier.tokens" or "frontier.parents" or "scored.tokens" or "scored.parents" => Exact,
        "frontier.cum_log_probs" or "scored.cum_log_probs" => TreeLogProbabilities,
        string stage => TreeAndVerification(stage),
    };

    /// <summary>The group of a tensor of eagle-forward.safetensors; null for a name that the README does not list.</summary>
    public static Tolerance? Eagle(string name) => Stage(name) switch
    {
        "draft.fc_input" => EagleFcInput,
        "draft.fc_output" => EagleFcOutput,
        "draft.layer_output" => EagleLayerOutput,
        "draft.logits" => EagleLogits,
        "draft.positions" or "draft.mask" => Exact,
        string stage => TreeAndVerification(stage),
    };

    private static Tolerance? TreeAndVerification(string stage) => stage switch
    {
        "prompt.ids" or "tree.flat_index" or "tree.tokens" or "tree.parents" or "tree.depths" or "tree.accepted_nodes" or "tree.bonus" => Exact,
        "verify.input_ids" or "verify.positions" or "verify.mask" => Exact,
        "tree.cum_log_probs" => TreeLogProbabilities,
        "verify.hidden" => VerifyHidden,
        "verify.logits" => VerifyLogits,
        _ => null,
    };

    /// <summary>The name without cycle, layer and step numbers: "cycle1.draft.2.logits" is "draft.logits".</summary>
    private static string Stage(string name) => Numbers().Replace(name, "");

    [GeneratedRegex(@"^cycle\d+\.|\.\d+(?=\.|$)", RegexOptions.CultureInvariant, matchTimeoutMilliseconds: 1000)]
    private static partial Regex Numbers();
}
