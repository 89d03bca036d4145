using LowLevelSpec.Engine.Sampling;
using LowLevelSpec.Models;

namespace LowLevelSpec.Engine.Backends;

/// <summary>
/// The operations that models are written in. A backend enqueues work; only the operations that return values to the host
/// (<see cref="Read"/>, <see cref="TopLogProbabilities"/>, <see cref="ArgMax"/>) wait.
/// <para>
/// Row-count invariance: every operation gives a row the same bits however many rows come along and however the work is
/// split over threads. Attention visits keys in the order prefix, then ancestors, so a token gives the same bits whether its
/// predecessors lie in a row or scattered in a tree.
/// </para>
/// <para>Operations may be called from several threads at once on disjoint buffers; a buffer belongs to one caller at a time.
/// Shape mismatches throw <see cref="ArgumentException"/>: they are bugs of the caller, not bad input.</para>
/// Letters: n rows, E hidden, H query heads, K kv heads, D head size, L layers, V vocabulary, F MLP width.
/// </summary>
public interface IBackend : IDisposable
{
    /// <summary>Short name for reports, e.g. "cpu 512-bit, 2 threads".</summary>
    string Name { get; }

    /// <summary>
    /// Whether verification computes the logits of a draft tree's nodes one by one, as its walk visits them (the CPU: a walk visits a few nodes,
    /// and logits of the whole tree cost many times those of one), or of all nodes at once (a GPU, where a tree costs little more than a node
    /// and each visit would wait for the device). The text is the same.
    /// </summary>
    bool PrefersLogitsOnDemand { get; }

    /// <summary>Whether loading some rows of an LM head for one text costs next to nothing here, and is undone by what <see cref="CollectWeights"/> returns.</summary>
    bool ExtendsDraftHeads => false;

    /// <summary>Allocates zeroed f32 activations.</summary>
    /// <param name="length">Elements.</param>
    /// <param name="purpose">Named in the error when memory runs out.</param>
    TensorBuffer Allocate(long length, string purpose);

    /// <summary>Allocates a KV cache. <paramref name="type"/> is for the CPU: other backends have one type of their own.</summary>
    KvCache AllocateKvCache(int layers, int kvHeads, int headSize, int capacity, KvType type = KvType.F32);

    /// <summary>Bytes that <see cref="AllocateKvCache"/> takes for the same sizes.</summary>
    long KvCacheBytes(int layers, int kvHeads, int headSize, int capacity, KvType type = KvType.F32);

    /// <summary>Takes over a weight: maps it (CPU) or copies it (GPU). Any weight type of <see cref="TensorType"/>; rank 1 becomes [1, length].</summary>
    Weight LoadWeight(TensorView view);

    /// <summary>As <see cref="LoadWeight"/>, for a weight that <see cref="MatMul"/> will read: a backend may bring it into the order of its kernels now.</summary>
    Weight LoadMatrix(TensorView view) => LoadWeight(view);

    /// <summary>As <see cref="LoadMatrix"/>, for a drafter's weight: what it drafts changes no text, so a backend may keep it in fewer bits than the file does.</summary>
    Weight LoadDraftMatrix(TensorView view) => LoadMatrix(view);

    /// <summary>
    /// Runs <paramref name="load"/> and returns what frees the weights that it has loaded on this thread; null where nothing needs freeing.
    /// </summary>
    IDisposable? CollectWeights(Action load)
    {
        load();
        return null;
    }

    /// <summary>output[i] = row tokens[i] of the table. table [V, E], output [n, E].</summary>
    void Embed(Weight table, ReadOnlySpan<int> tokens, Matrix output);

    /// <summary>The same for the tokens of a pass's rows.</summary>
    void Embed(Weight table, PassBatch batch, Matrix output) => Embed(table, batch.Tokens, output);

    /// <summary>output = (input * 1/sqrt(mean(input^2) + epsilon)) * gain, per row; input [n, E], gain [1, E]; may work in place.</summary>
    void RmsNorm(Matrix input, Weight gain, float epsilon, Matrix output);

    /// <summary>
    /// output[r, o] = sum_i weight[o, i] * input[r, i] (+ bias[o]); with <paramref name="accumulate"/> this is added to output (a residual).
    /// weight [O, I], input [n, I], output [n, O], bias [1, O]. Stored row order (<see cref="TensorView.InterleavedHeads"/>) is undone.
    /// </summary>
    void MatMul(Weight weight, Matrix input, Matrix output, Weight? bias = null, bool accumulate = false);

    /// <summary>Several products of one input (queries, keys and values; gate and up), each as <see cref="MatMul"/> computes it: a backend may share work among them.</summary>
    void MatMulAll(Matrix input, ReadOnlySpan<Product> products)
    {
        foreach (Product product in products)
        {
            MatMul(product.Weight, input, product.Output, product.Bias);
        }
    }

    /// <summary>Rotates each head of each row in place by its position; values [n, heads*D], D = table.HeadSize, pairs (i, i + D/2).</summary>
    void Rope(Matrix values, int heads, RopeTable table, ReadOnlySpan<int> positions);

    /// <summary>The same with the positions of a pass's rows.</summary>
    void Rope(Matrix values, int heads, RopeTable table, PassBatch batch) => Rope(values, heads, table, batch.Positions);

    /// <summary>The same with the first n of positions that never change.</summary>
    void Rope(Matrix values, int heads, RopeTable table, FixedPositions positions) => Rope(values, heads, table, positions.Values[..values.Rows]);

    /// <summary>
    /// <see cref="Rope(Matrix, int, RopeTable, PassBatch)"/> of q [n, H*D] and k [n, K*D], then <see cref="StoreKv"/>: what every self-attention does, and a backend may do at once.
    /// </summary>
    void RopeAndStore(PassBatch batch, int layer, RopeTable table, Matrix q, int heads, Matrix k, Matrix v)
    {
        Rope(q, heads, table, batch);
        Rope(k, k.Columns / table.HeadSize, table, batch);
        StoreKv(batch, layer, k, v);
    }

    /// <summary>
    /// <see cref="RmsNorm"/>, <see cref="MatMul"/> and <see cref="Rope(Matrix, int, RopeTable, PassBatch)"/> in one: cross-attention's queries, which come from an input of few rows
    /// that nothing else reads normed. A backend may do it at once. input [n, E], output [n, H*D].
    /// </summary>
    /// <param name="batch">Whose positions rotate.</param>
    /// <param name="input">[n, E]; left as it is.</param>
    /// <param name="gain">[1, E]</param>
    /// <param name="epsilon">Of the norm.</param>
    /// <param name="norm">Working memory [n, E]; may or may not be written.</param>
    /// <param name="weight">[H*D, E]</param>
    /// <param name="bias">[1, H*D] or null.</param>
    /// <param name="table">Angles.</param>
    /// <param name="output">[n, H*D]</param>
    void NormedQuery(PassBatch batch, Matrix input, Weight gain, float epsilon, Matrix norm, Weight weight, Weight? bias, RopeTable table, Matrix output)
    {
        RmsNorm(input, gain, epsilon, norm);
        MatMul(weight, norm, output, bias);
        Rope(output, output.Columns / table.HeadSize, table, batch);
    }

    /// <summary>Writes k and v [n, K*D] of every row to layer <paramref name="layer"/> of its sequence's cache at its cache row, rounded to the cache's type.</summary>
    void StoreKv(PassBatch batch, int layer, Matrix k, Matrix v);

    /// <summary>
    /// output[r] = softmax(q_h . k_j * scale) v_j per head over what row r may see (prefix, then ancestors), grouped queries: head h reads kv head h / (H/K).
    /// queries, output [n, H*D]. A row that sees nothing gives zeros.
    /// </summary>
    void Attention(PassBatch batch, int layer, Matrix queries, Matrix output, int heads, float scale);

    /// <summary>
    /// Unmasked self-attention inside groups of consecutive rows (LSA: the L layers of one token): queries, output [groups*L, H*D], k, v [groups*L, K*D].
    /// </summary>
    void GroupAttention(Matrix queries, Matrix k, Matrix v, Matrix output, int groupRows, int heads, int kvHeads, float scale);

    /// <summary>
    /// LSA's input: output[(t*L)+l] = for every kv head in order [K_head (D) ; V_head (D)] of layer l at cache row firstRow+t.
    /// output [count*L, Ekv], Ekv = 2*K*D: what the cache holds, so rounded where the cache is 16 bits wide.
    /// </summary>
    void GatherLayers(KvCache cache, CacheRow firstRow, int count, Matrix output);

    /// <summary>output[g] = mean of rows g*groupRows .. (g+1)*groupRows-1, summed in order. input [groups*groupRows, C], output [groups, C].</summary>
    void GroupMean(Matrix input, int groupRows, Matrix output);

    /// <summary>output = silu(gate) * up, elementwise [n, F]; output may be gate or up.</summary>
    void SwiGlu(Matrix gate, Matrix up, Matrix output);

    /// <summary>output[i] = input[rows[i]]. input and output must not overlap unless rows[i] >= i for all i (compaction).</summary>
    void CopyRows(Matrix input, ReadOnlySpan<int> rows, Matrix output);

    /// <summary>
    /// Compacts an accepted path: in all layers row rows[i] moves to baseRow+i, then Length = baseRow + rows.Length.
    /// rows ascending, rows[i] >= baseRow+i.
    /// </summary>
    void KeepRows(KvCache cache, CacheRow baseRow, ReadOnlySpan<int> rows);

    /// <summary>
    /// log_softmax of each row and its <paramref name="count"/> largest entries in descending order, ties to the lower index. Waits.
    /// logits [n, V]; tokens, logProbabilities n*count, row-major. A non-finite logit throws <see cref="ArithmeticException"/>.
    /// </summary>
    void TopLogProbabilities(Matrix logits, int count, Span<int> tokens, Span<float> logProbabilities);

    /// <summary>Index of the largest entry of each row, ties to the lower index. Waits. NaN, +infinity or a row of -infinity throws <see cref="ArithmeticException"/>.</summary>
    void ArgMax(Matrix logits, Span<int> tokens);

    /// <summary>
    /// Draws the token of output index <paramref name="draw"/> from logits [1, V]: temperature, top-k, top-p, min-p, the random stream's number of that index. Waits.
    /// A backend draws all tokens or none, so that every mode of decoding chooses in the same place. NaN, +infinity or a row of -infinity throws <see cref="ArithmeticException"/>.
    /// </summary>
    /// <returns>False where choosing is the host's (<see cref="TokenSampler"/>): the CPU.</returns>
    bool TrySample(Matrix logits, SamplingOptions options, long draw, out int token)
    {
        token = 0;
        return false;
    }

    /// <summary>
    /// Runs passes over a prompt from its first token: every mode of decoding runs the same ones, so a backend may multiply otherwise there than while it decodes.
    /// </summary>
    void Prefill(Action passes)
    {
        ArgumentNullException.ThrowIfNull(passes);
        passes();
    }

    /// <summary>Copies to the host, row-major without gaps. Waits.</summary>
    void Read(Matrix source, Span<float> destination);

    /// <summary>Copies from the host, row-major without gaps.</summary>
    void Write(ReadOnlySpan<float> source, Matrix destination);
}

/// <summary>One of several matrix products of the same input, see <see cref="IBackend.MatMulAll"/>.</summary>
/// <param name="Weight">[O, I].</param>
/// <param name="Output">[n, O].</param>
/// <param name="Bias">[1, O] or null.</param>
public readonly record struct Product(Weight Weight, Matrix Output, Weight? Bias = null);

/// <summary>Bytes touched at least once and floating-point operations of one call: what a benchmark divides time by.</summary>
public readonly record struct OperationCost(long Bytes, long Flops);
