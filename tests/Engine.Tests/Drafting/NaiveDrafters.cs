using LowLevelSpec.Engine.Backends;
using LowLevelSpec.Engine.Decoding;
using LowLevelSpec.Models;

namespace LowLevelSpec.Engine.Tests.Drafting;

/// <summary>
/// What a drafter says after a path of drafted tokens, computed from its definition: no cache of its own, no tree, no batch. Of the target it takes
/// what the engine's target left after prefill: keys and values, hidden states.
/// </summary>
internal abstract class NaiveDrafter
{
    private readonly float[] _embedding, _head, _finalNorm;
    private readonly NaiveLayer[] _targetLayers;

    protected NaiveDrafter(LanguageModel model, ModelFile file, Generation generation)
    {
        LlamaTensors target = file.Tensors;
        Config = target.Config;
        Tokens = generation.Tokens.ToArray();
        Verified = generation.Cache.Length;
        _embedding = Dequantizer.All(target.Embedding);
        _head = Dequantizer.All(target.LmHead);
        _finalNorm = Dequantizer.All(target.FinalNorm);
        RopeTable rope = new(Config.HeadSize, Config.RopeTheta, Config.RopeScaling);
        _targetLayers = [.. target.Layers.Select(l => new NaiveLayer(l, Config.Heads, Config.KvHeads, Config.HeadSize, Config.RmsNormEpsilon, rope))];
        Model = model;
    }

    protected LanguageModel Model { get; }

    protected LlamaConfig Config { get; }

    /// <summary>Prompt and root.</summary>
    protected int[] Tokens { get; }

    protected int Verified { get; }

    /// <summary>log_softmax of the token after root and <paramref name="path"/>.</summary>
    public double[] LogProbabilities(int[] path)
    {
        double[] logits = NaiveLayer.Multiply(_head, Hidden([.. Tokens, .. path]));
        double max = logits.Max(), logSum = Math.Log(logits.Sum(l => Math.Exp(l - max)));
        return [.. logits.Select(l => l - max - logSum)];
    }

    /// <summary>What goes into the LM head for the last of <paramref name="tokens"/>.</summary>
    protected abstract double[] Hidden(int[] tokens);

    protected double[] Embed(int token) => [.. _embedding.AsSpan(token * Config.HiddenSize, Config.HiddenSize).ToArray().Select(static x => (double)x)];

    /// <summary>Rows of a matrix as doubles.</summary>
    protected double[][] Read(Matrix matrix)
    {
        float[] values = new float[matrix.Rows * matrix.Columns];
        Model.Backend.Read(matrix, values);
        return [.. values.Chunk(matrix.Columns).Select(static row => row.Select(static x => (double)x).ToArray())];
    }

    /// <summary>The target's keys and values, [token][layer].</summary>
    protected NaiveKey[][] TargetKeys(KvCache cache)
    {
        int d = Config.HeadSize;
        return [.. Gathered(cache).Chunk(Config.Layers).Select(layers => layers.Select(state => new NaiveKey(
            [.. state.Chunk(2 * d).SelectMany(pair => pair[..d])], [.. state.Chunk(2 * d).SelectMany(pair => pair[d..])])).ToArray())];
    }

    /// <summary>LSA's input, [token * layers][Ekv].</summary>
    protected double[][] Gathered(KvCache cache)
    {
        int rows = Verified * Config.Layers;
        using TensorBuffer buffer = Model.Backend.Allocate((long)rows * Config.KvSize, "test");
        Matrix matrix = new(buffer, 0, rows, Config.KvSize, Config.KvSize);
        Model.Backend.GatherLayers(cache, new CacheRow(0), Verified, matrix);
        return Read(matrix);
    }

    /// <summary>The last <paramref name="layers"/> target layers on the inputs of root and path, over the verified tokens' own keys, and the final norm of the last.</summary>
    protected double[] LastTargetLayers(double[][] inputs, int layers, NaiveKey[][] verified)
    {
        for (int l = Config.Layers - layers; l < Config.Layers; l++)
        {
            List<NaiveKey> keys = [.. verified.Select(token => token[l])];
            double[][] outputs = new double[inputs.Length][];
            for (int i = 0; i < inputs.Length; i++)
            {
                keys.Add(_targetLayers[l].Keys(inputs[i], Verified + i));
                outputs[i] = _targetLayers[l].Forward(inputs[i], Verified + i, keys);
            }

            inputs = outputs;
        }

        return NaiveLayer.Norm(_finalNorm, inputs[^1], Config.RmsNormEpsilon);
    }
}

/// <summary>Mixture of Attentions, sections 1 and 2 of the paper's architecture.</summary>
internal sealed class NaiveMoa : NaiveDrafter
{
    private readonly NaiveLayer _self, _cross;
    private readonly List<NaiveKey> _crossKeys = [];
    private readonly NaiveKey[][] _targetKeys;
    private readonly int _targetLayers;

    public NaiveMoa(LanguageModel model, ModelFile file, DrafterFile drafter, int targetLayers, Generation generation) : base(model, file, generation)
    {
        MoaTensors moa = drafter.Moa!;
        _targetLayers = targetLayers;
        _targetKeys = TargetKeys(generation.Cache);
        _self = Layer(moa.SelfAttention, moa.SelfAttentionConfig, Config.RopeScaling);
        _cross = Layer(moa.CrossAttention, moa.CrossAttentionConfig, null);
        NaiveLayer mix = Layer(moa.LayerSelfAttention!, moa.LayerSelfAttentionConfig!, null);
        float[] project = Dequantizer.All(moa.Ekv2E), bias = Dequantizer.All(moa.Ekv2EBias);
        foreach (double[][] layers in Gathered(generation.Cache).Chunk(Config.Layers))
        {
            NaiveKey[] keys = [.. layers.Select(mix.Keys)];
            double[][] mixed = [.. layers.Select((x, l) => mix.Forward(x, l, keys))];
            double[] mean = [.. Enumerable.Range(0, Config.KvSize).Select(i => mixed.Average(row => row[i]))];
            double[] state = [.. NaiveLayer.Multiply(project, mean).Select((x, i) => x + bias[i])];
            _crossKeys.Add(_cross.Keys(state, _crossKeys.Count));
        }

        NaiveLayer Layer(LayerTensors tensors, DrafterLayerConfig c, RopeScaling? scaling) =>
            new(tensors, c.Heads, c.KvHeads, c.HeadSize, moa.RmsNormEpsilon, new RopeTable(c.HeadSize, moa.RopeTheta, scaling));
    }

    protected override double[] Hidden(int[] tokens)
    {
        double[][] drafted = [.. _self.Causal(tokens.Select(Embed)).Skip(Verified).Select((x, i) => _cross.Forward(x, Verified + i, _crossKeys))];
        return _targetLayers == 0 ? drafted[^1] : LastTargetLayers(drafted, _targetLayers, _targetKeys);
    }
}

/// <summary>EAGLE-2 with each node seeing exactly its ancestors.</summary>
internal sealed class NaiveEagle : NaiveDrafter
{
    private readonly float[] _fc;
    private readonly NaiveLayer _layer;
    private readonly double[][] _hidden;

    /// <summary>To be created right after a prefill of one pass, whose hidden states it takes.</summary>
    public NaiveEagle(LanguageModel model, ModelFile file, DrafterFile drafter, Generation generation) : base(model, file, generation)
    {
        EagleTensors eagle = drafter.Eagle!;
        DrafterLayerConfig c = eagle.LayerConfig;
        _fc = Dequantizer.All(eagle.Fc);
        _layer = new NaiveLayer(eagle.Layer, c.Heads, c.KvHeads, c.HeadSize, eagle.RmsNormEpsilon, new RopeTable(c.HeadSize, eagle.RopeTheta, Config.RopeScaling));
        _hidden = Read(generation.Pass.Hidden);
    }

    protected override double[] Hidden(int[] tokens)
    {
        // Position t takes the token after it and the feature at t: the target's where it is verified, else the layer's own output one position before.
        List<NaiveKey> keys = [];
        double[] feature = [];
        for (int t = 0; t + 1 < tokens.Length; t++)
        {
            double[] x = NaiveLayer.Multiply(_fc, [.. Embed(tokens[t + 1]), .. t < Verified ? _hidden[t] : feature]);
            keys.Add(_layer.Keys(x, t));
            feature = _layer.Forward(x, t, keys);
        }

        return feature;
    }
}
