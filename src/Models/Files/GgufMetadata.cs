namespace LowLevelSpec.Models;

/// <summary>Typed, range-checked access to a GGUF file's metadata; messages name file, key, found and expected.</summary>
internal sealed class GgufMetadata(string path, IReadOnlyDictionary<string, object> pairs)
{
    public bool Has(string key) => pairs.ContainsKey(key);

    public int Int(string key, int min, int max) =>
        OptionalInt(key, min, max) ?? throw new ModelFileException(path, $"metadata '{key}' is missing, expected a whole number from {min} to {max}; convert the model again");

    /// <summary>A whole number; an array (one per layer) counts where all its values are equal.</summary>
    public int? OptionalInt(string key, int min, int max)
    {
        if (!pairs.TryGetValue(key, out object? value))
        {
            return null;
        }

        Int128? number = value is Array { Length: > 0 } perLayer && perLayer.Cast<object>().All(v => v.Equals(perLayer.GetValue(0)))
            ? Whole(perLayer.GetValue(0)!)
            : Whole(value);
        return number >= min && number <= max ? (int)number.Value : throw Wrong(key, value, $"a whole number from {min} to {max}{(value is Array ? ", the same for all layers" : "")}");
    }

    public float Float(string key, float above, float below) =>
        OptionalFloat(key, above, below) ?? throw new ModelFileException(path, $"metadata '{key}' is missing, expected a number above {above} and below {below}; convert the model again");

    public float? OptionalFloat(string key, float above, float below)
    {
        if (!pairs.TryGetValue(key, out object? value))
        {
            return null;
        }

        float number = value switch
        {
            float f => f,
            double d => (float)d,
            _ => float.NaN,
        };
        return number > above && number < below ? number : throw Wrong(key, value, $"a number above {above} and below {below}");
    }

    public string? OptionalString(string key) => !pairs.TryGetValue(key, out object? value)
        ? null
        : value as string ?? throw Wrong(key, value, "a string");

    /// <summary>A token id below <paramref name="vocabulary"/>; null where absent or all ones, which converters write for "none".</summary>
    public int? TokenId(string key, int vocabulary) =>
        pairs.TryGetValue(key, out object? value) && value is uint.MaxValue or -1 ? null : OptionalInt(key, 0, vocabulary - 1);

    public ModelFileException Wrong(string key, object found, string expected)
    {
        string shown = found is Array array ? $"an array of {array.Length} values" : FileErrors.Quote(found.ToString() ?? "");
        return new ModelFileException(path, $"metadata '{key}' is {shown}, expected {expected}; convert the model again or choose another one");
    }

    private static Int128? Whole(object value) => value switch
    {
        byte v => v,
        sbyte v => v,
        ushort v => v,
        short v => v,
        uint v => v,
        int v => v,
        ulong v => v,
        long v => v,
        _ => null,
    };
}
