using System.Globalization;
using LowLevelSpec.Engine;
using LowLevelSpec.Engine.Backends;
using LowLevelSpec.Engine.Decoding;
using LowLevelSpec.Engine.Drafting;

namespace LowLevelSpec.Golden;

/// <summary>Runs the engine's own decoding loop for some cycles and records every stage through the trace hooks.</summary>
internal sealed class LoopRecorder
{
    private readonly Generation _generation;
    private readonly Recording _recording;
    private readonly int _layers, _logitRows;

    /// <summary>Prefix of the cycle that is running, and of the cycle whose drafting the rows verified now are for.</summary>
    private string _cycle = "", _observing = "";

    /// <summary>Draft step of the cycle, from 1.</summary>
    private int _step = 1;

    private bool _verifying;

    private readonly Action<string, Matrix>? _tamper;

    private LoopRecorder(Generation generation, LanguageModel model, TreeSettings tree, Action<string, Matrix>? tamper)
    {
        _tamper = tamper;
        (_generation, _recording) = (generation, new Recording(model.Backend));
        (_layers, _logitRows) = (model.Config.Layers, tree.TotalTokens + 1);
        generation.Session.Trace = DrafterStage;
        generation.Session.TraceRows = DrafterRows;
        generation.Pass.Trace = TargetStage;
        generation.Pass.TraceRows = TargetRows;
    }

    /// <summary>
    /// Runs <paramref name="cycles"/> cycles and returns all stages under the golden files' names. Tests change a drafter's stage before it is recorded and
    /// used: <paramref name="tamper"/> gets its name, e.g. "cycle1.draft.2.logits".
    /// </summary>
    public static SortedDictionary<string, GoldenTensor> Run(LanguageModel model, Drafter drafter, int[] prompt, TreeSettings tree, int cycles, Action<string, Matrix>? tamper = null)
    {
        GenerationRequest request = new()
        {
            PromptIds = prompt,
            Drafter = drafter,
            Tree = tree,
            MaxNewTokens = (cycles + 1) * (tree.Depth + 1),
        };
        using Generation generation = model.Begin(request, logitsOnDemand: false);
        LoopRecorder recorder = new(generation, model, tree, tamper);
        recorder.Run(prompt, cycles);
        return recorder._recording.Tensors();
    }

    /// <summary>"" for the first cycle, "cycle1." for the second and so on.</summary>
    public static string Prefix(int cycle) => cycle == 0 ? "" : string.Create(CultureInfo.InvariantCulture, $"cycle{cycle}.");

    private void Run(int[] prompt, int cycles)
    {
        _recording.Set("prompt.ids", prompt);
        _generation.Prefill(CancellationToken.None);
        (GoldenTensor Key, GoldenTensor Value)[] layers = _recording.ReadCache(_generation.Cache, prompt.Length);
        for (int l = 0; l < layers.Length; l++)
        {
            _recording.Set($"target.k.{l}", layers[l].Key);
            _recording.Set($"target.v.{l}", layers[l].Value);
        }

        for (int cycle = 0; cycle < cycles && _generation.Finished is null; cycle++)
        {
            Step(cycle);
        }
    }

    private void Step(int cycle)
    {
        int verified = _generation.Cache.Length, written = _generation.NewTokens;
        (_cycle, _observing, _step, _verifying) = (Prefix(cycle), Prefix(cycle + 1), 1, true);
        if (_generation.Session is MoaSession moa)
        {
            (GoldenTensor key, GoldenTensor value) = _recording.ReadCache(moa.CrossCache, verified)[0];
            _recording.Set($"{_cycle}ca.k", key);
            _recording.Set($"{_cycle}ca.v", value);
        }

        _generation.Step();
        DraftTree tree = _generation.Tree;
        _recording.Append($"{_cycle}verify.logits", _generation.Pass.Logits(0, tree.Count));
        _recording.Set($"{_cycle}tree.tokens", tree.Tokens);
        _recording.Set($"{_cycle}tree.parents", tree.Parents);
        _recording.Set($"{_cycle}tree.depths", tree.Depths);
        _recording.Set($"{_cycle}tree.cum_log_probs", tree.LogProbabilities);
        _recording.Set($"{_cycle}tree.accepted_nodes", _generation.AcceptedNodes);
        bool bonus = _generation.NewTokens - written > _generation.LastAccepted;
        _recording.Set($"{_cycle}tree.bonus", bonus ? _generation.Tokens[^1..] : []);
        if (_generation.Session is LevelDraftSession session)
        {
            TreeGrower grower = session.Grower;
            RecordFrontier(grower, grower.Depth - 1);
            _recording.Set($"{_cycle}scored.tokens", grower.ScoredTokens);
            _recording.Set($"{_cycle}scored.parents", grower.ScoredParents);
            _recording.Set($"{_cycle}scored.cum_log_probs", grower.Scores);
            _recording.Set($"{_cycle}tree.flat_index", grower.Chosen);
        }

        if (_generation.Session is MoaSession drafter)
        {
            // Deeper levels write beyond these rows, so they still hold what step 1 left.
            (GoldenTensor key, GoldenTensor value) = _recording.ReadCache(drafter.SelfCache, verified + 1)[0];
            _recording.Set($"{_cycle}draft.1.sa_cache_k", key);
            _recording.Set($"{_cycle}draft.1.sa_cache_v", value);
        }
    }

    private void RecordFrontier(TreeGrower grower, int step)
    {
        _recording.Set($"{_cycle}frontier.{step}.tokens", grower.FrontierTokens);
        _recording.Set($"{_cycle}frontier.{step}.parents", grower.FrontierParents);
        _recording.Set($"{_cycle}frontier.{step}.cum_log_probs", grower.FrontierScores);
    }

    private void DrafterStage(string stage, Matrix value)
    {
        switch (stage)
        {
            case "lsa.input" or "lsa.output":
                _recording.Append(_observing + stage, value, _layers);
                break;
            case "lsa.mean" or "ekv2e.output":
                _recording.Append(_observing + stage, value);
                break;
            default:
                _tamper?.Invoke($"{_cycle}draft.{_step}.{stage}", value);
                _recording.Append($"{_cycle}draft.{_step}.{stage}", value);
                break;
        }

        if (stage == "logits")
        {
            // The step ends here; the frontier still is the one that this step scored.
            if (_step > 1 && _generation.Session is LevelDraftSession session)
            {
                RecordFrontier(session.Grower, _step - 1);
            }

            _step++;
        }
    }

    private void DrafterRows(string layer, PassBatch batch)
    {
        string step = $"{_cycle}draft.{_step}.";
        switch (layer)
        {
            case "sa":
                _recording.Append(step + "input_ids", batch.Tokens);
                _recording.AppendMask(step + "sa_mask", batch);
                Positions(step + "sa_positions", batch);
                break;
            case "ca":
                _recording.SetShared(step + "ca_position", batch.Positions);
                break;
            default:
                _recording.AppendMask(step + "mask", batch);
                Positions(step + "positions", batch);
                break;
        }
    }

    /// <summary>Step 1 has a position per token, a deeper level one for all its nodes.</summary>
    private void Positions(string name, PassBatch batch)
    {
        if (_step == 1)
        {
            _recording.Append(name, batch.Positions);
        }
        else
        {
            _recording.SetShared(name, batch.Positions);
        }
    }

    private void TargetRows(PassBatch batch)
    {
        if (_verifying)
        {
            _recording.Append($"{_cycle}verify.input_ids", batch.Tokens);
            _recording.Append($"{_cycle}verify.positions", batch.Positions);
            _recording.AppendMask($"{_cycle}verify.mask", batch);
        }
    }

    private void TargetStage(string stage, Matrix value)
    {
        bool last = stage == $"hidden.{_layers}";
        if (_verifying)
        {
            if (last)
            {
                _recording.Append($"{_cycle}verify.hidden", value);
            }

            return;
        }

        _recording.Append("target." + stage, value);
        for (int first = 0; last && first < value.Rows; first += _logitRows)
        {
            _recording.Append("target.logits", _generation.Pass.Logits(first, Math.Min(_logitRows, value.Rows - first)));
        }
    }
}
