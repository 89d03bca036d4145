namespace LowLevelSpec.Models;

/// <summary>Reads the <c>pre_tokenizer</c> of tokenizer.json.</summary>
internal static class PreTokenizerJson
{
    private const string Supported = "ByteLevel, Digits, Split, Sequence of them";

    private const int MostSteps = 64;

    /// <summary>Reads the steps. The last must be ByteLevel: the vocabulary is one of bytes.</summary>
    /// <exception cref="ModelFileException">It is malformed or not built.</exception>
    public static PreTokenStep[] Read(JsonSource preTokenizer)
    {
        var steps = new List<PreTokenStep>();
        var byteLevel = false;
        Read(preTokenizer.Exists ? preTokenizer : throw preTokenizer.Wrong("ByteLevel, alone or at the end of a Sequence"), steps, ref byteLevel);
        return byteLevel ? [.. steps] : throw preTokenizer.Unsupported("without ByteLevel", "ByteLevel, alone or at the end of a Sequence");
    }

    private static void Read(JsonSource item, List<PreTokenStep> steps, ref bool byteLevel)
    {
        var type = item.Member("type").Text();
        if (byteLevel && type != "Sequence")
        {
            throw item.Member("type").Unsupported($"{type} after ByteLevel", "ByteLevel as the last step");
        }

        // Each step runs inside the one before it.
        if (steps.Count > MostSteps)
        {
            throw item.Member("type").Unsupported($"more than {MostSteps} steps", "fewer");
        }

        switch (type)
        {
            case "Sequence":
                foreach (var part in item.Member("pretokenizers").Items())
                {
                    Read(part, steps, ref byteLevel);
                }

                break;
            case "Digits":
                steps.Add(new DigitsStep(item.Member("individual_digits").Flag(false)));
                break;
            case "Split":
                steps.Add(ReadSplit(item));
                break;
            case "ByteLevel":
                byteLevel = true;
                if (item.Member("add_prefix_space").Flag(true))
                {
                    steps.Add(new PrefixSpaceStep());
                }

                if (item.Member("use_regex").Flag(true))
                {
                    steps.Add(new Gpt2Step());
                }

                break;
            default:
                throw item.Member("type").Unsupported(type, Supported);
        }
    }

    private static PreTokenStep ReadSplit(JsonSource item)
    {
        var behaviorKey = item.Member("behavior");
        if (!Enum.TryParse<SplitBehavior>(behaviorKey.Text(), out var behavior) || behavior.ToString() != behaviorKey.Text())
        {
            throw behaviorKey.Wrong(string.Join(", ", Enum.GetNames<SplitBehavior>()));
        }

        var invert = item.Member("invert").Flag(false);
        var regex = item.Member("pattern").Member("Regex");
        if (!regex.Exists)
        {
            return new SplitStep(new TextPattern(item.Member("pattern").Member("String").Text()), behavior, invert);
        }

        // These two match every code point, so keeping only the matches is the same as isolating them.
        var pattern = regex.Text();
        if ((behavior == SplitBehavior.Isolated && !invert) || (behavior == SplitBehavior.Removed && invert))
        {
            if (pattern == Gpt2Step.Pattern)
            {
                return new Gpt2Step();
            }

            if (Cl100kStep.TryCreate(pattern) is { } known)
            {
                return known;
            }
        }

        try
        {
            return new SplitStep(new RegexPattern(pattern), behavior, invert);
        }
        catch (ArgumentException e)
        {
            throw new ModelFileException(item.Path, $"'{regex.Key}' is a pattern that is not supported ({e.Message.TrimEnd('.')}); use a model with a simpler pre-tokenizer", e);
        }
    }
}
