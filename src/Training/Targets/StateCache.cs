using System.Runtime.InteropServices;
using System.Security.Cryptography;
using LowLevelSpec.Models;
using LowLevelSpec.Training.Compute;
using LowLevelSpec.Training.Data;

namespace LowLevelSpec.Training.Targets;

/// <summary>
/// The target's states of the training texts, in bf16 on disk: <c>states.bin</c> holds, per token, the final hidden state [E], keys and values of all
/// layers [L, Ekv] and, for each N > 0 of target layer inference it serves, the input of layer L-N [E]; <c>states.done</c> one byte per text, 1 where its states are there; <c>states.key</c> what they belong
/// to. A text's states are computed when a batch first needs them, rounded, kept, and read from then on, so a step sees the same bits either way.
/// The next batch is read ahead while the present one is trained on. For one training at a time.
/// </summary>
internal sealed class StateCache : IStateSource<float>, IDisposable
{
    private readonly FrozenTarget<float> _target;
    private readonly Dictionary<TrainingSequence, int> _index = new(ReferenceEqualityComparer.Instance);
    private readonly long[] _firstToken;
    private readonly int _tokenBytes;
    private readonly int[] _served;
    private readonly bool[] _present;
    private readonly string _done;
    private readonly FileStream _states;
    private byte[] _buffer = [], _ahead = [];
    private TrainingBatch? _aheadOf, _next;
    private Task _reading = Task.CompletedTask;
    private bool _changed;

    private StateCache(FrozenTarget<float> target, IReadOnlyList<TrainingSequence> sequences, int[] served, FileStream states, string done)
    {
        (_target, _served, _states, _done) = (target, served, states, done);
        _tokenBytes = sizeof(ushort) * ((target.Config.HiddenSize * (served.Length + 1)) + (target.Config.Layers * target.Config.KvSize));
        _firstToken = new long[sequences.Count + 1];
        for (int i = 0; i < sequences.Count; i++)
        {
            _index[sequences[i]] = i;
            _firstToken[i + 1] = _firstToken[i] + sequences[i].Tokens.Count;
        }

        _present = new bool[sequences.Count];
    }

    /// <summary>Batches whose states were read while the one before was trained on.</summary>
    public int TakenAhead { get; private set; }

    /// <summary>How large the cache is when it holds every text, in words.</summary>
    public string Size => $"{_firstToken[^1]:N0} tokens of {_tokenBytes:N0} bytes, {_firstToken[^1] * _tokenBytes / 1e9:0.0} GB when all are there, {_present.Count(static p => p)} of {_present.Length} texts there now";

    /// <summary>Opens the cache in <paramref name="folder"/>, or starts one.</summary>
    /// <param name="folder">Where it is.</param>
    /// <param name="target">Whose states.</param>
    /// <param name="sequences">Of which texts.</param>
    /// <param name="lastLayers">The N > 0 it serves; 0 is always served.</param>
    /// <param name="products">What the target's products round to.</param>
    /// <exception cref="InputException">It belongs to another target or other texts, another training has it open, or the disk is too small for it.</exception>
    public static StateCache Open(string folder, FrozenTarget<float> target, IReadOnlyList<TrainingSequence> sequences, IEnumerable<int> lastLayers, Products products = Products.Single)
    {
        int[] served = [.. lastLayers.Where(static n => n > 0).Distinct().Order()];
        if (served.Length > 0 && served[^1] > target.Config.Layers)
        {
            throw new InputException($"target layer inference: found {served[^1]}, expected 0 to {target.Config.Layers} (the target's layers)");
        }

        string path = Path.Combine(folder, "states.bin"), key = Path.Combine(folder, "states.key"), done = Path.Combine(folder, "states.done"), wanted = Key(target, sequences, served) + (products == Products.Single ? "" : ", products in bf16");
        FileStream? states = null;
        try
        {
            Directory.CreateDirectory(folder);
            states = new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None, bufferSize: 0);
            if (File.Exists(key) && File.ReadAllText(key) is var found && found != wanted)
            {
                throw new InputException($"{key}: the cached states are of '{found}', expected '{wanted}'; name another folder or delete this one");
            }

            StateCache cache = new(target, sequences, served, states, done);
            long missing = (cache._firstToken[^1] * cache._tokenBytes) - states.Length, free = new DriveInfo(Path.GetFullPath(folder)).AvailableFreeSpace;
            if (missing > free)
            {
                throw new InputException($"{folder}: the cache needs {missing / 1e9:0.0} GB more ({cache.Size}), found {free / 1e9:0.0} GB free; name a folder on a larger disk, train on less data or without --cache");
            }

            File.WriteAllText(key, wanted);
            byte[] marks = File.Exists(done) ? File.ReadAllBytes(done) : [];
            for (int i = 0; i < Math.Min(marks.Length, cache._present.Length); i++)
            {
                cache._present[i] = marks[i] == 1 && cache._firstToken[i + 1] * cache._tokenBytes <= states.Length;
            }

            states = null;
            return cache;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new InputException($"{folder}: the cache of the target's states can't be opened: {e.Message}; is another training using it?", e);
        }
        finally
        {
            states?.Dispose();
        }
    }

    /// <summary>Says which batch comes after the one that is asked for next: its states are read, if all are there, while that one is trained on.</summary>
    public void ReadNext(TrainingBatch batch) => _next = batch;

    private void Prefetch(TrainingBatch batch)
    {
        if (!AllPresent(batch))
        {
            return;
        }

        Grow(ref _ahead, batch.Rows);
        _aheadOf = batch;
        byte[] to = _ahead;
        _reading = Task.Run(() => Read(batch, to));
    }

    /// <inheritdoc/>
    public TargetStates<float> States(Arena<float> arena, TrainingBatch batch, int lastLayers)
    {
        int wanted = Array.IndexOf(_served, lastLayers);
        if (lastLayers > 0 && wanted < 0)
        {
            throw new ArgumentException($"the cache is for {string.Join(", ", _served)} last layers, asked for {lastLayers}", nameof(lastLayers));
        }

        LlamaConfig config = _target.Config;
        if (!AllPresent(batch))
        {
            (Tensor<float> final, Tensor<float> layers, Tensor<float>[] inputs) = _target.States(arena, batch, _served);
            Grow(ref _buffer, batch.Rows);
            Move(final, layers, inputs, batch.Rows, _buffer, narrow: true);
            Write(batch, _buffer);
            Move(final, layers, inputs, batch.Rows, _buffer, narrow: false);
            return new TargetStates<float>(final, layers, wanted < 0 ? null : inputs[wanted]);
        }

        // The read ahead was begun one step ago, into the other buffer, for this very batch unless a training has just started.
        TargetStates<float> states = new(
            arena.Allocate(batch.Rows, config.HiddenSize), arena.Allocate(batch.Rows * config.Layers, config.KvSize), lastLayers > 0 ? arena.Allocate(batch.Rows, config.HiddenSize) : null);
        Tensor<float>?[] read = new Tensor<float>?[_served.Length];
        if (wanted >= 0)
        {
            read[wanted] = states.Middle;
        }

        Move(states.Final, states.Layers, read, batch.Rows, Take(batch), narrow: false);
        if (_next is { } next)
        {
            _next = null;
            Prefetch(next);
        }

        return states;
    }

    /// <summary>To disk: states first, then which are there.</summary>
    public void Flush()
    {
        if (!_changed)
        {
            return;
        }

        _states.Flush(flushToDisk: true);
        string part = _done + ".part";
        File.WriteAllBytes(part, [.. _present.Select(static p => (byte)(p ? 1 : 0))]);
        File.Move(part, _done, overwrite: true);
        _changed = false;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _reading.Wait();
        _states.Dispose();
    }

    /// <summary>Target (a hash of its states of a fixed text, which its arithmetic on this processor enters), texts and shape.</summary>
    private static string Key(FrozenTarget<float> target, IReadOnlyList<TrainingSequence> sequences, int[] served)
    {
        int[] probe = [.. Enumerable.Range(0, 12).Select(i => i * 7 % target.Config.VocabularySize)];
        TargetStates<float> states = target.States(new Arena<float>(), new TrainingBatch([new TrainingSequence(probe, new bool[probe.Length])]), 0);
        byte[] hash = SHA256.HashData([.. MemoryMarshal.AsBytes(states.Final.Span), .. MemoryMarshal.AsBytes(states.Layers.Span)]);
        return $"target {Convert.ToHexStringLower(hash.AsSpan(0, 8))}, texts {SequenceHash.Of(sequences, responses: false)}, last layers {(served.Length == 0 ? "0" : string.Join(" and ", served))}";
    }

    private bool AllPresent(TrainingBatch batch) => batch.Sequences.All(s => _present[_index[s]]);

    private void Grow(ref byte[] buffer, int rows)
    {
        long needed = (long)rows * _tokenBytes;
        if (buffer.LongLength < needed)
        {
            buffer = GC.AllocateUninitializedArray<byte>(checked((int)needed));
        }
    }

    private byte[] Take(TrainingBatch batch)
    {
        _reading.GetAwaiter().GetResult();
        if (_aheadOf is not null && _aheadOf.Sequences.SequenceEqual(batch.Sequences))
        {
            (_buffer, _ahead, _aheadOf) = (_ahead, _buffer, null);
            TakenAhead++;
            return _buffer;
        }

        Grow(ref _buffer, batch.Rows);
        Read(batch, _buffer);
        return _buffer;
    }

    private void Read(TrainingBatch batch, byte[] to)
    {
        foreach ((long at, Memory<byte> bytes) in Parts(batch, to))
        {
            int done = 0;
            while (done < bytes.Length)
            {
                int count = RandomAccess.Read(_states.SafeFileHandle, bytes.Span[done..], at + done);
                done += count > 0 ? count : throw new InputException($"{_states.Name}: ends before the states of a text that it should hold; delete the cache");
            }
        }
    }

    private void Write(TrainingBatch batch, byte[] from)
    {
        foreach ((long at, Memory<byte> bytes) in Parts(batch, from))
        {
            RandomAccess.Write(_states.SafeFileHandle, bytes.Span, at);
        }

        foreach (TrainingSequence sequence in batch.Sequences)
        {
            _present[_index[sequence]] = true;
        }

        _changed = true;
    }

    /// <summary>Where in the file each text of a batch is, and where in the batch's buffer.</summary>
    private IEnumerable<(long At, Memory<byte> Bytes)> Parts(TrainingBatch batch, byte[] buffer)
    {
        for (int s = 0; s < batch.Sequences.Count; s++)
        {
            yield return (_firstToken[_index[batch.Sequences[s]]] * _tokenBytes, buffer.AsMemory(batch.FirstRow[s] * _tokenBytes, batch.Sequences[s].Tokens.Count * _tokenBytes));
        }
    }

    /// <summary>Between a batch's states and its tokens' records, rounding on the way out; <paramref name="inputs"/> has a place for each N served, null where it is not asked for.</summary>
    private void Move(Tensor<float> final, Tensor<float> states, Tensor<float>?[] inputs, int rows, byte[] records, bool narrow)
    {
        int e = _target.Config.HiddenSize, layers = _target.Config.Layers * _target.Config.KvSize;
        Tensor<float> all = states.Reshape(rows, layers);
        Work.Blocks(rows, 16, (long)rows * _tokenBytes, (first, count) =>
        {
            for (int i = first; i < first + count; i++)
            {
                Span<ushort> record = MemoryMarshal.Cast<byte, ushort>(records.AsSpan(checked(i * _tokenBytes), _tokenBytes));
                Convert16(final.Row(i), record[..e], narrow);
                Convert16(all.Row(i), record.Slice(e, layers), narrow);
                for (int n = 0; n < inputs.Length; n++)
                {
                    if (inputs[n] is { } input)
                    {
                        Convert16(input.Row(i), record.Slice(layers + ((n + 1) * e), e), narrow);
                    }
                }
            }
        });
    }

    private static void Convert16(Span<float> values, Span<ushort> record, bool narrow)
    {
        if (narrow)
        {
            BFloat16Rows.Narrow(values, record);
        }
        else
        {
            BFloat16Rows.Widen(record, values);
        }
    }
}
