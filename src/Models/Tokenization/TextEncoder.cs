using System.Buffers;
using System.Text;

namespace LowLevelSpec.Models;

/// <summary>Text to ids: added tokens, normalization, pre-tokens, merges, in Hugging Face's order. Thread-safe.</summary>
internal sealed class TextEncoder
{
    private readonly BytePairEncoder _bytePairs;
    private readonly PreTokenStep[] _steps;
    private readonly bool _nfc;
    private readonly AddedTokenMatcher _raw;
    private readonly AddedTokenMatcher _normalized;
    private readonly AddedTokenMatcher _rawWithAllSpecials;
    private readonly AddedTokenMatcher _normalizedWithoutSpecials;
    private readonly Dictionary<string, int> _added = [];

    public TextEncoder(TokenizerParts parts, bool[] special)
    {
        _bytePairs = new BytePairEncoder(parts.Tokens, parts.Merges, special, parts.IgnoresMerges, parts.UnknownId, parts.FusesUnknown);
        _steps = parts.PreTokenSteps;
        _nfc = parts.NormalizesToNfc;
        _raw = Matcher(parts, t => !t.Normalized);
        _normalized = Matcher(parts, t => t.Normalized, _nfc);
        _rawWithAllSpecials = Matcher(parts, t => !t.Normalized || t.Special);
        _normalizedWithoutSpecials = Matcher(parts, t => t.Normalized && !t.Special, _nfc);
        foreach (var token in parts.AddedTokens)
        {
            _added.TryAdd(token.Content, token.Id);
        }
    }

    /// <summary>The id of an added token.</summary>
    public int? FindAdded(string content) => _added.TryGetValue(content, out var id) ? id : null;

    /// <summary>The ids of a text from one source.</summary>
    public int[] Encode(string text, bool allowSpecial)
    {
        var run = new Run(this, allowSpecial, allowSpecial);
        run.SplitRaw(WithoutLoneSurrogates(text), _raw, _normalized, default);
        return run.Output.ToArray();
    }

    /// <summary>
    /// The ids of a text parts of which come from outside. Control tokens count only where the text is not from outside; everything
    /// else is encoded as one text.
    /// </summary>
    public int[] EncodeMixed(string text, OutsideText outside)
    {
        // Normalization moves positions, so all control tokens are found before it, whatever their flag.
        var run = new Run(this, allowSpecial: true, unknownMayBeSpecial: false);
        run.SplitRaw(WithoutLoneSurrogates(text), _rawWithAllSpecials, _normalizedWithoutSpecials, outside);
        return run.Output.ToArray();
    }

    private static AddedTokenMatcher Matcher(TokenizerParts parts, Func<AddedToken, bool> filter, bool nfc = false)
        => new(parts.AddedTokens.Where(filter), nfc ? NfcNormalizer.Normalize : content => content);

    // Each lone surrogate is one unit and so is U+FFFD: positions stay.
    private static string WithoutLoneSurrogates(string text)
    {
        char[]? copy = null;
        var at = text.AsSpan().IndexOfAnyInRange('\uD800', '\uDFFF');
        for (; at >= 0 && at < text.Length; at++)
        {
            if (char.IsHighSurrogate(text[at]) && at + 1 < text.Length && char.IsLowSurrogate(text[at + 1]))
            {
                at++;
            }
            else if (char.IsSurrogate(text[at]))
            {
                copy ??= text.ToCharArray();
                copy[at] = '\uFFFD';
            }
        }

        return copy is null ? text : new string(copy);
    }

    private sealed class Run(TextEncoder owner, bool allowSpecial, bool unknownMayBeSpecial) : IPreTokenSink
    {
        public IntBuffer Output { get; } = new();

        public void SplitRaw(string text, AddedTokenMatcher raw, AddedTokenMatcher normalized, OutsideText outside)
            => Split(text, raw, outside, piece =>
            {
                var normal = owner._nfc ? NfcNormalizer.Normalize(piece) : piece;
                Split(normal, normalized, default, PreTokenize);
            });

        public void Add(ReadOnlySpan<char> preToken)
        {
            byte[]? rented = null;
            var limit = preToken.Length * 3;
            var bytes = limit <= 512 ? stackalloc byte[512] : (rented = ArrayPool<byte>.Shared.Rent(limit));
            owner._bytePairs.Encode(bytes[..Encoding.UTF8.GetBytes(preToken, bytes)], unknownMayBeSpecial, Output);
            if (rented is not null)
            {
                ArrayPool<byte>.Shared.Return(rented);
            }
        }

        private void PreTokenize(string text) => new PreTokenRest(owner._steps, 0, this).Add(text);

        // The order of the checks is that of Hugging Face's AddedVocabulary: a control token that is off, or a token that is not a
        // word of its own, is passed over whole.
        private void Split(string text, AddedTokenMatcher matcher, OutsideText outside, Action<string> between)
        {
            var done = 0;
            if (!matcher.IsEmpty)
            {
                for (var from = 0; matcher.Next(text, from, outside, out var start, out var end) is { } token;)
                {
                    from = end;
                    if ((token.Special && !allowSpecial) || (token.SingleWord && !AddedTokenMatcher.StandsAlone(text, start, end)))
                    {
                        continue;
                    }

                    if (token.StripsLeft)
                    {
                        start = Math.Max(done, text.AsSpan(0, start).TrimEnd().Length);
                    }

                    if (token.StripsRight)
                    {
                        end = text.Length - text.AsSpan(end).TrimStart().Length;
                    }

                    if (start > done)
                    {
                        between(text[done..start]);
                    }

                    Output.Add(token.Id);
                    done = end;
                }
            }

            if (done < text.Length)
            {
                between(done == 0 ? text : text[done..]);
            }
        }
    }
}
