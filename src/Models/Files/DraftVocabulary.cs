namespace LowLevelSpec.Models;

/// <summary>
/// A trimmed draft vocabulary: the target's tokens that a drafter's LM head scores, the most frequent ones. In a checkpoint: tensor
/// <c>draft_vocabulary</c> (I64 [N], token ids) and, in the config, <c>draft_vocabulary_size</c> = N.
/// </summary>
public static class DraftVocabulary
{
    /// <summary>The tensor's name.</summary>
    public const string TensorName = "draft_vocabulary";

    /// <summary>The config's key.</summary>
    public const string SizeKey = "draft_vocabulary_size";

    /// <summary>Says what is wrong with a table; null where nothing is.</summary>
    /// <param name="tokens">Token ids, distinct.</param>
    /// <param name="vocabularySize">Tokens of the target.</param>
    public static string? Fault(IReadOnlyList<int> tokens, int vocabularySize)
    {
        ArgumentNullException.ThrowIfNull(tokens);
        HashSet<int> seen = [];
        for (int i = 0; i < tokens.Count; i++)
        {
            if ((uint)tokens[i] >= (uint)vocabularySize)
            {
                return $"names token {tokens[i]} at place {i}, expected 0 to {vocabularySize - 1} (the target's vocabulary)";
            }

            if (!seen.Add(tokens[i]))
            {
                return $"names token {tokens[i]} twice, again at place {i}; expected each once";
            }
        }

        return tokens.Count == 0 ? "names no tokens, expected at least one" : null;
    }

    /// <summary>The table of a checkpoint, checked; null where it has none.</summary>
    internal static unsafe int[]? Read(WeightSet weights, LlamaConfig target)
    {
        if (weights.Gguf is not null)
        {
            return null;
        }

        int? announced = File.Exists(weights.Location.Config) ? JsonConfig.Read(weights.Location.Config).OptionalInt(SizeKey, 1, target.VocabularySize) : null;
        if (!weights.Has(TensorName))
        {
            return announced is null ? null : throw new ModelFileException(
                weights.Location.Weights, $"tensor '{TensorName}' is missing, expected it with shape [{announced}] because the config has {SizeKey}; download both again from one release");
        }

        TensorView view = weights.TakeIds(TensorName);
        int[] tokens = new int[view.Elements];
        ReadOnlySpan<long> stored = new((void*)view.Data, tokens.Length);
        for (int i = 0; i < tokens.Length; i++)
        {
            // Beyond any vocabulary either way.
            tokens[i] = stored[i] is >= 0 and < int.MaxValue ? (int)stored[i] : -1;
        }

        return announced is int size && size != tokens.Length
            ? throw new ModelFileException(weights.Location.Weights, $"tensor '{TensorName}' has {tokens.Length} tokens, expected {size} (the config's {SizeKey}); download both again from one release")
            : Fault(tokens, target.VocabularySize) is string fault
            ? throw new ModelFileException(view.FilePath, $"tensor '{TensorName}' {fault}; the drafter was made for another target, or the file is damaged")
            : tokens;
    }
}
