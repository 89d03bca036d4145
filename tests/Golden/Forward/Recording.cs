using LowLevelSpec.Engine.Backends;

namespace LowLevelSpec.Golden;

/// <summary>What a run of the engine computed, under the golden files' tensor names. Stages that run in pieces are appended row by row.</summary>
internal sealed class Recording(IBackend backend)
{
    private readonly SortedDictionary<string, GoldenTensor> _tensors = new(StringComparer.Ordinal);
    private readonly Dictionary<string, List<MaskRow>> _masks = new(StringComparer.Ordinal);

    /// <summary>Everything recorded. Masks have a column for every cache row that is written or seen.</summary>
    public SortedDictionary<string, GoldenTensor> Tensors()
    {
        foreach ((string name, List<MaskRow> rows) in _masks)
        {
            int columns = rows.Max(static r => r.Single.Append(r.Written).Append(r.Prefix - 1).Max() + 1);
            long[] mask = new long[rows.Count * columns];
            for (int i = 0; i < rows.Count; i++)
            {
                Span<long> row = mask.AsSpan(i * columns, columns);
                row[..rows[i].Prefix].Fill(1);
                foreach (int column in rows[i].Single)
                {
                    row[column] = 1;
                }
            }

            _tensors[name] = GoldenTensor.Of(mask, rows.Count, columns);
        }

        _masks.Clear();
        return _tensors;
    }

    /// <summary>Copies a matrix to the host.</summary>
    public float[] Read(Matrix matrix)
    {
        float[] values = new float[matrix.Rows * matrix.Columns];
        backend.Read(matrix, values);
        return values;
    }

    public void Set(string name, GoldenTensor tensor) => _tensors[name] = tensor;

    public void Set(string name, ReadOnlySpan<int> values) => Set(name, GoldenTensor.Of(values));

    public void Set(string name, ReadOnlySpan<float> values) => Set(name, GoldenTensor.Of(values.ToArray(), values.Length));

    /// <summary>Appends a matrix's rows; with <paramref name="group"/> every that many of them are one entry: [rows/group, group, columns].</summary>
    public void Append(string name, Matrix matrix, int group = 1)
    {
        float[] values = Read(matrix);
        int[] tail = group == 1 ? [matrix.Columns] : [group, matrix.Columns];
        if (_tensors.TryGetValue(name, out GoldenTensor? before))
        {
            values = [.. before.Floats!, .. values];
        }

        Set(name, GoldenTensor.Of(values, [values.Length / (group * matrix.Columns), .. tail]));
    }

    public void Append(string name, ReadOnlySpan<int> values)
    {
        GoldenTensor added = GoldenTensor.Of(values);
        Set(name, _tensors.TryGetValue(name, out GoldenTensor? before) ? GoldenTensor.Of([.. before.Integers!, .. added.Integers!], before.Count + added.Count) : added);
    }

    /// <summary>The one value that all rows share, as the golden files store a level's position; all of them where they differ.</summary>
    public void SetShared(string name, ReadOnlySpan<int> values) => Set(name, values.ContainsAnyExcept(values[0]) ? values : values[..1]);

    /// <summary>Appends which cache rows each row of a pass may attend to.</summary>
    public void AppendMask(string name, PassBatch batch)
    {
        if (!_masks.TryGetValue(name, out List<MaskRow>? rows))
        {
            _masks.Add(name, rows = []);
        }

        for (int i = 0; i < batch.Count; i++)
        {
            rows.Add(new MaskRow(batch.Prefix[i], batch.CacheRows[i], batch.Ancestors(i).ToArray()));
        }
    }

    /// <summary>Keys and values of the first rows of a cache, per layer [K, rows, D]: LSA's gather taken apart again.</summary>
    public (GoldenTensor Key, GoldenTensor Value)[] ReadCache(KvCache cache, int rows)
    {
        int heads = cache.KvHeads, size = cache.HeadSize, width = 2 * heads * size;
        using TensorBuffer buffer = backend.Allocate((long)rows * cache.Layers * width, "golden check: cache");
        Matrix gathered = new(buffer, 0, rows * cache.Layers, width, width);
        backend.GatherLayers(cache, new Engine.CacheRow(0), rows, gathered);
        float[] values = Read(gathered);
        (GoldenTensor, GoldenTensor)[] layers = new (GoldenTensor, GoldenTensor)[cache.Layers];
        for (int l = 0; l < layers.Length; l++)
        {
            float[] k = new float[heads * rows * size], v = new float[k.Length];
            for (int h = 0; h < heads; h++)
            {
                for (int r = 0; r < rows; r++)
                {
                    int from = (((r * cache.Layers) + l) * width) + (2 * h * size), to = ((h * rows) + r) * size;
                    values.AsSpan(from, size).CopyTo(k.AsSpan(to));
                    values.AsSpan(from + size, size).CopyTo(v.AsSpan(to));
                }
            }

            layers[l] = (GoldenTensor.Of(k, heads, rows, size), GoldenTensor.Of(v, heads, rows, size));
        }

        return layers;
    }

    /// <summary>What one row of a pass may attend to: leading rows and single ones; and the row it writes.</summary>
    private sealed record MaskRow(int Prefix, int Written, int[] Single);
}
