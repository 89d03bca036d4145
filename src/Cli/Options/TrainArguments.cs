using System.CommandLine;
using System.Globalization;
using LowLevelSpec.Models;
using LowLevelSpec.Training;
using LowLevelSpec.Training.Drafters;
using LowLevelSpec.Training.Losses;
using LowLevelSpec.Training.Optimisation;

namespace LowLevelSpec.Cli.Options;

/// <summary>How a drafter is trained: everything that decides what a step does.</summary>
internal sealed class TrainArguments
{
    private const int DefaultSteps = 1000, DefaultTokens = 2048, DefaultEvery = 100, DefaultWidth = 768, DefaultLsaWidth = 384, DefaultWarmUp = 50, DefaultLayers = 2, DefaultHidden = 192;
    private const float DefaultPeak = 1e-3f;

    private readonly Option<string?> _init = new("--init") { Description = "Drafter of the same kind and sizes whose weights the training starts from; random ones without it.", HelpName = "DIR" };
    private readonly Option<string?> _kind = new("--kind") { Description = "moa (the default), eagle or independent.", HelpName = "KIND" };
    private readonly Option<string?> _loss = new("--loss") { Description = "kl (the default): cross entropy + 0.1 feature loss; paper: 0.1 cross entropy + feature loss.", HelpName = "LOSS" };
    private readonly Option<string?> _schedule = new("--schedule") { Description = "cosine (the default): up to --lr, then down to 3 % of it; paper: up to --lr, then straight down to a twentieth; constant: up to --lr.", HelpName = "NAME" };
    private readonly Option<string?> _cache = new("--cache") { Description = "Folder that keeps the target's states in bf16 between epochs and trainings; its size is said before the first step.", HelpName = "DIR" };
    private readonly Option<string?> _products = new("--products") { Description = "What operands of matrix products are rounded to: f32 (the default) or bf16, faster where the native library finds AVX-512 BF16.", HelpName = "TYPE" };
    private readonly Option<string?> _cacheLayers = new("--cache-tli") { Description = "With --cache: further --tli that the cache serves, as in 1,3, so that their trainings share it; each costs a hidden state per token.", HelpName = "N,..." };
    private readonly Option<string?> _optimiser = new("--optimiser") { Description = "adamw (the default) or muon, whose steps follow orthogonalised momentum.", HelpName = "NAME" };
    private readonly Option<bool> _startFromTarget = new("--init-target") { Description = "Starts a MoA drafter's SA from the target's first layer." };
    private readonly Option<bool> _noLsa = new("--no-lsa") { Description = "Ablation: a MoA drafter whose cross-attention sees the mean over the target's layers." };
    private readonly Option<bool> _noCa = new("--no-ca") { Description = "Ablation: a MoA drafter whose cross-attention adds nothing, so it sees its own tokens alone." };
    private readonly NumberOption<int> _tli = new("--tli", "Target layer inference of a MoA drafter; 0 by default.", low: 0, high: 64);
    private readonly NumberOption<int> _steps = new("--steps", $"Optimiser steps in all; {DefaultSteps} by default.", low: 1);
    private readonly NumberOption<int> _tokens = new("--tokens", $"Most tokens of a micro-batch; {DefaultTokens} by default.", low: 16, high: 1 << 16);
    private readonly NumberOption<int> _accumulate = new("--accumulate", "Micro-batches whose gradients one step averages; 1 by default.", low: 1, high: 4096);
    private readonly NumberOption<float> _rate = new("--lr", $"Largest learning rate; {DefaultPeak} by default.", low: 0);
    private readonly NumberOption<int> _warmUp = new("--warm-up", $"Steps over which the rate rises; {DefaultWarmUp} by default.", low: 0);
    private readonly NumberOption<float> _align = new("--align", "Weight of a loss that draws LSA's output toward the target's final hidden state; 0 by default.", low: 0);
    private readonly NumberOption<float> _temperature = new("--temperature", "Temperature of both distributions in the cross entropy, 0.05 to 1; 1 by default. Below 1 the most likely tokens weigh more, which greedy decoding goes by.", low: 0.05f, high: 1);
    private readonly NumberOption<float> _clip = new("--clip", "Limit of the gradient's norm; 1 by default.", low: 0);
    private readonly NumberOption<float> _decay = new("--weight-decay", "AdamW's weight decay; 0 by default.", low: 0);
    private readonly NumberOption<float> _share = new("--kl-share", "Share of the response positions the cross entropy is taken over, drawn anew each step; 1 by default.", low: 0, high: 1);
    private readonly NumberOption<int> _klTokens = new("--kl-tokens", "The most frequent answer tokens that the cross entropy is taken over; all tokens without it.", low: 1);
    private readonly NumberOption<int> _klDrawn = new("--kl-drawn", "With --kl-tokens: how many of the other tokens, drawn anew each micro-batch, stand for all others; 0 by default.", low: 0);
    private readonly NumberOption<int> _staircase = new("--staircase-steps", "Steps over which the staircase mask fades out; 0, never, by default.", low: 0);
    private readonly NumberOption<int> _horizon = new("--horizon", "Ablation: a fixed distance between verification points instead of one drawn from 6..14 per text and step.", low: 1);
    private readonly NumberOption<int> _kvHeads = new("--kv-heads", "kv heads of each drafter layer, a divisor of its heads; the target's by default, 1 for an independent drafter where those do not fit.", low: 1, high: 1024);
    private readonly NumberOption<int> _width = new("--mlp", $"MLP width of SA and CA, of EAGLE's layer or of an independent drafter; {DefaultWidth} by default.", low: 1, high: 1 << 17);
    private readonly NumberOption<int> _lsaWidth = new("--lsa-mlp", $"MLP width of LSA; {DefaultLsaWidth} by default.", low: 1, high: 1 << 17);
    private readonly NumberOption<int> _layers = new("--layers", $"Layers of an independent drafter; {DefaultLayers} by default.", low: 1, high: 256);
    private readonly NumberOption<int> _hidden = new("--hidden", $"Hidden size of an independent drafter, a multiple of the target's head size; {DefaultHidden} by default.", low: 2, high: 1 << 16);
    private readonly NumberOption<int> _draftVocabulary = new("--draft-vocabulary", "Lists this many of the most frequent answer tokens in the drafter's file, for a draft head of these tokens.", low: 1);
    private readonly NumberOption<int> _every = new("--checkpoint-every", $"Steps between checkpoints; {DefaultEvery} by default.", low: 1);
    private readonly NumberOption<ulong> _seed = new("--seed", "Seed of weights, order and choices; 1 by default.");

    /// <summary>The options, in the order of the help.</summary>
    public IEnumerable<Option> All =>
    [
        _init, _startFromTarget, _kind, _tli, _steps, _tokens, _accumulate, _rate, _schedule, _warmUp, _optimiser, _clip, _decay, _loss, _temperature, _align, _share, _klTokens, _klDrawn, _staircase, _horizon, _noLsa, _noCa,
        _kvHeads, _width, _lsaWidth, _layers, _hidden, _products, _cache, _cacheLayers, _draftVocabulary, _every, _seed,
    ];

    /// <summary>Reads all of them.</summary>
    /// <param name="result">The command line.</param>
    /// <param name="target">The target's sizes.</param>
    /// <exception cref="InputException">A bad value.</exception>
    /// <exception cref="UsageException">Options that exclude each other.</exception>
    public TrainerOptions Read(ParseResult result, LlamaConfig target)
    {
        int steps = _steps.Read(result) ?? DefaultSteps, warmUp = _warmUp.Read(result) ?? DefaultWarmUp;
        float peak = _rate.Read(result) ?? DefaultPeak;
        DrafterPlan plan = Plan(result, target);
        if (_klDrawn.Read(result) is not null && _klTokens.Read(result) is null)
        {
            throw new UsageException("--kl-drawn adds to --kl-tokens: give both, or neither.");
        }

        string? cacheFolder = result.GetValue(_cache) is { } named ? Filled.In("--cache", named) : null;
        if (result.GetValue(_cacheLayers) is not null && cacheFolder is null)
        {
            throw new UsageException("--cache-tli says what --cache serves: give both, or neither.");
        }

        LossWeights loss = (result.GetValue(_loss) ?? "kl") switch
        {
            // An independent drafter's hidden states need not have the target's size: the distribution is all it learns.
            _ when plan is IndependentPlan => new LossWeights(1, 0, 0),
            "kl" => LossWeights.Kl(plan.TargetLayers),
            "paper" => LossWeights.Paper(plan.TargetLayers),
            string other => throw new InputException($"--loss: found '{other}', expected kl or paper"),
        };
        float align = _align.Read(result) ?? 0;
        if (align > 0 && plan is not MoaPlan)
        {
            throw new UsageException("--align is for MoA drafters: leave it out with another --kind.");
        }

        return new TrainerOptions
        {
            Drafter = plan,
            Loss = loss with { Alignment = align, Temperature = _temperature.Read(result) ?? 1 },
            Optimiser = (result.GetValue(_optimiser) ?? "adamw") switch
            {
                "adamw" => OptimiserKind.AdamW,
                "muon" => OptimiserKind.Muon,
                string other => throw new InputException($"--optimiser: found '{other}', expected adamw or muon"),
            },
            StartFromTarget = result.GetValue(_startFromTarget) && (plan is MoaPlan ? true : throw new UsageException("--init-target is for MoA drafters: leave it out with another --kind.")),
            Schedule = (result.GetValue(_schedule) ?? "cosine") switch
            {
                "cosine" => new CosineSchedule(peak, warmUp, steps),
                "paper" => new PeakSchedule(peak / 20, warmUp, Math.Max(1, steps - warmUp)),
                "constant" => new CosineSchedule(peak, warmUp, steps, FinalShare: 1),
                string other => throw new InputException($"--schedule: found '{other}', expected cosine, paper or constant"),
            },
            Steps = steps,
            MicroBatchTokens = _tokens.Read(result) ?? DefaultTokens,
            MicroBatches = _accumulate.Read(result) ?? 1,
            Clip = _clip.Read(result) ?? 1,
            AdamW = new AdamWOptions(WeightDecay: _decay.Read(result) ?? 0),
            StaircaseSteps = _staircase.Read(result) ?? 0,
            Horizon = _horizon.Read(result) ?? 0,
            KlShare = _share.Read(result) ?? 1,
            KlTokens = _klTokens.Read(result) ?? 0,
            KlDrawnTokens = _klDrawn.Read(result) ?? 0,
            Products = (result.GetValue(_products) ?? "f32") switch
            {
                "f32" => Products.Single,
                "bf16" => Products.BFloat16,
                string other => throw new InputException($"--products: found '{other}', expected f32 or bf16"),
            },
            CacheFolder = cacheFolder,
            CacheLayers = Layers(result.GetValue(_cacheLayers), target),
            DraftVocabulary = _draftVocabulary.Read(result) ?? 0,
            CheckpointEvery = _every.Read(result) ?? DefaultEvery,
            StartFrom = result.GetValue(_init) is { } init ? Filled.In("--init", init) : null,
            Seed = _seed.Read(result) ?? 1,
        };
    }

    private static int[] Layers(string? list, LlamaConfig target) =>
        [.. (list ?? "").Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries).Select(part =>
            int.TryParse(part, NumberStyles.None, CultureInfo.InvariantCulture, out int n) && n <= target.Layers
                ? n
                : throw new InputException($"--cache-tli: found '{part}', expected numbers from 0 to {target.Layers} (the target's layers), separated by commas"))];

    private DrafterPlan Plan(ParseResult result, LlamaConfig target)
    {
        string kind = result.GetValue(_kind) ?? "moa";
        int layers = _tli.Read(result) ?? 0, kv = _kvHeads.Read(result) ?? target.KvHeads, width = _width.Read(result) ?? DefaultWidth;
        bool noLsa = result.GetValue(_noLsa), noCa = result.GetValue(_noCa);
        if (kind != "moa" && (_tli.Read(result) is > 0 || noLsa || noCa || _horizon.Read(result) is not null))
        {
            throw new UsageException($"--tli, --no-lsa, --no-ca and --horizon are for MoA drafters: leave them out with --kind {kind}.");
        }

        if (kind != "independent" && target.Heads % kv != 0)
        {
            throw new InputException($"--kv-heads: found {kv}, expected a divisor of the target's {target.Heads} heads");
        }

        return kind switch
        {
            "moa" => new MoaPlan(new MoaSizes(noLsa ? 0 : kv, _lsaWidth.Read(result) ?? DefaultLsaWidth, kv, width, kv, width), layers, !noCa),
            "eagle" => new EaglePlan(kv, width),
            "independent" => Independent(target, _hidden.Read(result) ?? DefaultHidden, _kvHeads.Read(result), width, _layers.Read(result) ?? DefaultLayers),
            _ => throw new InputException($"--kind: found '{kind}', expected moa, eagle or independent"),
        };
    }

    private static IndependentPlan Independent(LlamaConfig target, int hidden, int? wantedKvHeads, int width, int layers)
    {
        int heads = hidden / target.HeadSize;
        if (heads == 0 || hidden % target.HeadSize != 0)
        {
            throw new InputException($"--hidden: found {hidden}, expected a multiple of the target's head size {target.HeadSize}");
        }

        int kvHeads = wantedKvHeads ?? (heads % target.KvHeads == 0 ? target.KvHeads : 1);
        return heads % kvHeads == 0
            ? new IndependentPlan(target with { ModelType = "llama", HiddenSize = hidden, Heads = heads, KvHeads = kvHeads, IntermediateSize = width, Layers = layers, TiedEmbeddings = true, AttentionBias = false })
            : throw new InputException($"--kv-heads: found {kvHeads}, expected a divisor of the drafter's {heads} heads (--hidden {hidden} in heads of {target.HeadSize})");
    }
}
