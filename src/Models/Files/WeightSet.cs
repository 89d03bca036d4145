namespace LowLevelSpec.Models;

/// <summary>What a tensor is used for; decides which storage types will do.</summary>
internal enum WeightUse
{
    /// <summary>A matrix: any weight type.</summary>
    Matrix,

    /// <summary>A norm or a bias: F32, F16 or BF16.</summary>
    Vector,
}

/// <summary>The tensors of a checkpoint, from one or several files. Loaders take what they need by name and shape; what is left over is refused.</summary>
internal sealed class WeightSet : IDisposable
{
    private readonly List<IDisposable> _files = [];
    private readonly Dictionary<string, TensorView> _views = new(StringComparer.Ordinal);
    private readonly Dictionary<string, TensorInfo> _infos = new(StringComparer.Ordinal);
    private readonly HashSet<string> _done = new(StringComparer.Ordinal);

    private WeightSet(ModelLocation location) => Location = location;

    public ModelLocation Location { get; }

    /// <summary>The GGUF file, null for safetensors.</summary>
    public GgufFile? Gguf { get; private set; }

    public IReadOnlyCollection<TensorInfo> AllTensors => _infos.Values;

    public long FileBytes { get; private set; }

    /// <summary>Elements of the tensors taken so far.</summary>
    public long ParameterCount { get; private set; }

    /// <summary>What a wrong or missing tensor most likely means, and what to do; ends such messages.</summary>
    public string Hint { get; set; } = "the weights and their config do not belong together, download both again from one release";

    public static WeightSet Open(ModelLocation location)
    {
        WeightSet set = new(location);
        try
        {
            switch (location.Layout)
            {
                case WeightLayout.Gguf:
                    set.Gguf = GgufFile.Open(location.Weights);
                    set.Include(set.Gguf, set.Gguf.FileBytes, set.Gguf.AllTensors, set.Gguf.Tensors);
                    break;
                case WeightLayout.Sharded:
                    List<SafetensorsFile> shards = SafetensorsIndex.Open(location.Weights);
                    set._files.AddRange(shards);
                    shards.ForEach(s => set.Include(null, s.FileBytes, s.AllTensors, s.Tensors));
                    break;
                default:
                    SafetensorsFile file = SafetensorsFile.Open(location.Weights);
                    set.Include(file, file.FileBytes, file.AllTensors, file.Tensors);
                    break;
            }

            return set;
        }
        catch
        {
            set.Dispose();
            throw;
        }
    }

    /// <summary>A tensor as it lies in its file, taken before or not.</summary>
    public TensorView View(TensorInfo info) => _views.TryGetValue(info.Name, out TensorView? view) ? view : throw SafetensorsTypes.Unsupported(info);

    public bool Has(string name) => _infos.ContainsKey(name);

    public bool HasPrefix(string prefix) => _infos.Keys.Any(k => k.StartsWith(prefix, StringComparison.Ordinal));

    /// <summary>Takes a tensor, checked for presence, shape and type.</summary>
    public TensorView Take(string name, WeightUse use, params ReadOnlySpan<long> shape)
    {
        string expected = FileErrors.Shape(shape.ToArray());
        if (!_infos.TryGetValue(name, out TensorInfo? info))
        {
            throw new ModelFileException(Location.Weights, $"tensor {FileErrors.Quote(name)} is missing, expected it with shape {expected}; {Hint}");
        }

        if (!info.Shape.SequenceEqual(shape.ToArray()))
        {
            throw WrongShape(info, expected);
        }

        TensorView view = _views.TryGetValue(name, out TensorView? found) && found.Type is not (TensorType.I64 or TensorType.U8)
            ? found
            : throw SafetensorsTypes.Unsupported(info);
        if (use == WeightUse.Vector && view.Type is not (TensorType.F32 or TensorType.F16 or TensorType.BF16))
        {
            throw new ModelFileException(info.FilePath, $"tensor {FileErrors.Quote(name)} has type {info.Type}, expected F32, F16 or BF16 for a norm or a bias; convert the model again");
        }

        if (_done.Add(name))
        {
            ParameterCount += view.Elements;
        }

        return view;
    }

    /// <summary>Takes a list of ids: a tensor of one dimension and type I64.</summary>
    public TensorView TakeIds(string name)
    {
        TensorInfo info = _infos[name];
        if (info.Shape.Count != 1)
        {
            throw WrongShape(info, "one dimension");
        }

        _done.Add(name);
        return _views.TryGetValue(name, out TensorView? view) && view.Type == TensorType.I64
            ? view
            : throw new ModelFileException(info.FilePath, $"tensor {FileErrors.Quote(name)} has type {FileErrors.Plain(info.Type)}, expected I64 for a list of token ids; write the drafter again");
    }

    /// <summary>Outer dimension of a matrix whose inner one must be <paramref name="columns"/>; for sizes that only the shapes tell.</summary>
    public int Rows(string name, int columns, string meaning)
    {
        if (!_infos.TryGetValue(name, out TensorInfo? info))
        {
            throw new ModelFileException(Location.Weights, $"tensor {FileErrors.Quote(name)} is missing, expected it with shape [{meaning}, {columns}]; {Hint}");
        }

        return info.Shape is [> 0 and <= ModelLimits.Intermediate and long rows, long found] && found == columns
            ? (int)rows
            : throw WrongShape(info, $"[{meaning}, {columns}]");
    }

    public ModelFileException WrongShape(string name, string expected) => WrongShape(_infos[name], expected);

    /// <summary>Marks a tensor as known and not needed.</summary>
    public void Ignore(string name) => _done.Add(name);

    /// <summary>Refuses any tensor that nobody took. Old exports store RoPE's frequencies, which follow from the config.</summary>
    public void RefuseLeftovers(string holder)
    {
        foreach (TensorInfo info in _infos.Values)
        {
            if (!_done.Contains(info.Name) && !info.Name.EndsWith(".rotary_emb.inv_freq", StringComparison.Ordinal))
            {
                throw new ModelFileException(info.FilePath, $"holds the unknown tensor {FileErrors.Quote(info.Name)} with shape {FileErrors.Shape(info.Shape)}, expected only the tensors of {holder}; {Hint}");
            }
        }
    }

    /// <summary>Reads every tensor taken; the first that holds a NaN or an infinity, or null.</summary>
    public string? FindNonFinite()
    {
        foreach (string name in _done)
        {
            if (!_views.TryGetValue(name, out TensorView? view) || view.Type is TensorType.I64 or TensorType.U8)
            {
                continue;
            }

            ParallelLoopResult loop = Parallel.For(0, view.Rows, () => new float[view.Columns], (row, state, values) =>
            {
                Dequantizer.Row(view, row, values);
                if (!AllFinite(values))
                {
                    state.Stop();
                }

                return values;
            }, static _ => { });
            if (!loop.IsCompleted)
            {
                return name;
            }
        }

        return null;
    }

    private static bool AllFinite(float[] values)
    {
        // x - x is 0 for finite x and NaN for the rest, and NaN spreads through sums: one branch per row.
        float sum = 0;
        foreach (float x in values)
        {
            sum += x - x;
        }

        return sum == 0;
    }

    public void Dispose() => _files.ForEach(static f => f.Dispose());

    private ModelFileException WrongShape(TensorInfo info, string expected) =>
        new(info.FilePath, $"tensor {FileErrors.Quote(info.Name)} has shape {FileErrors.Shape(info.Shape)}, expected {expected}; {Hint}");

    private void Include(IDisposable? file, long bytes, IReadOnlyList<TensorInfo> infos, IReadOnlyDictionary<string, TensorView> views)
    {
        if (file is not null)
        {
            _files.Add(file);
        }

        FileBytes += bytes;
        foreach (TensorInfo info in infos)
        {
            // A name in two shards cannot come this far: the index places each once, and shards hold what it places.
            _infos.Add(info.Name, info);
            if (views.TryGetValue(info.Name, out TensorView? view))
            {
                _views.Add(info.Name, view);
            }
        }
    }
}
