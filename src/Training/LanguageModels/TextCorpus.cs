using System.Text;
using LowLevelSpec.Models;
using LowLevelSpec.Training.Data;

namespace LowLevelSpec.Training.LanguageModels;

/// <summary>A text file as documents: runs of lines with blank lines between them. Every fiftieth document is held out.</summary>
public sealed class TextCorpus
{
    /// <summary>One document in this many is held out.</summary>
    public const int HeldOutEvery = 50;

    private const long MaxBytes = 1L << 30;

    private readonly List<string> _documents;

    private TextCorpus(List<string> documents) => _documents = documents;

    /// <summary>All documents, in order.</summary>
    public IReadOnlyList<string> Documents => _documents;

    /// <summary>Documents that nothing is trained on.</summary>
    public IReadOnlyList<string> HeldOut => [.. _documents.Where(static (_, i) => IsHeldOut(i))];

    /// <summary>The others.</summary>
    public IReadOnlyList<string> Training => [.. _documents.Where(static (_, i) => !IsHeldOut(i))];

    /// <summary>Reads a file of UTF-8 text.</summary>
    /// <exception cref="InputException">It can't be read, is not text, or holds none.</exception>
    public static TextCorpus Read(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        try
        {
            if (new FileInfo(path).Length > MaxBytes)
            {
                throw new InputException($"--text {path}: is longer than {MaxBytes >> 20} MiB; train on a part of it");
            }

            UTF8Encoding strict = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);
            TextCorpus corpus = Parse(strict.GetString(File.ReadAllBytes(path)));
            return corpus._documents.Count > 0 ? corpus : throw new InputException($"--text {path}: holds no text, expected documents with blank lines between them");
        }
        catch (DecoderFallbackException e)
        {
            throw new InputException($"--text {path}: is not UTF-8 text (byte {e.Index}); convert it first", e);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new InputException($"--text {path}: can't be read: {e.Message.TrimEnd('.')}; give a text file", e);
        }
    }

    /// <summary>Cuts a text into documents.</summary>
    public static TextCorpus Parse(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        List<string> documents = [];
        List<string> lines = [];
        foreach (string line in text.Replace("\r\n", "\n", StringComparison.Ordinal).Split('\n').Append(""))
        {
            if (!string.IsNullOrWhiteSpace(line))
            {
                lines.Add(line);
            }
            else if (lines.Count > 0)
            {
                documents.Add(string.Join('\n', lines));
                lines.Clear();
            }
        }

        return new TextCorpus(documents);
    }

    /// <summary>
    /// The documents one after the other, each ended by <paramref name="endToken"/>, cut into sequences of <paramref name="length"/> tokens. Every token
    /// but a sequence's first is predicted, so a sequence begins with the last token of the one before.
    /// </summary>
    /// <param name="documents">Documents.</param>
    /// <param name="tokenizer">Their tokenizer.</param>
    /// <param name="endToken">Ends a document.</param>
    /// <param name="length">Tokens of a sequence; the last may be shorter.</param>
    public static IReadOnlyList<TrainingSequence> Sequences(IReadOnlyList<string> documents, Tokenizer tokenizer, int endToken, int length)
    {
        ArgumentNullException.ThrowIfNull(documents);
        ArgumentNullException.ThrowIfNull(tokenizer);
        ArgumentOutOfRangeException.ThrowIfLessThan(length, 2);
        int[] ids = [.. documents.SelectMany(document => tokenizer.Encode(document).Append(endToken))];
        List<TrainingSequence> sequences = [];
        for (int first = 0; first + 1 < ids.Length; first += length - 1)
        {
            int[] tokens = ids[first..Math.Min(ids.Length, first + length)];
            sequences.Add(new TrainingSequence(tokens, [.. Enumerable.Repeat(true, tokens.Length)]));
        }

        return sequences;
    }

    private static bool IsHeldOut(int index) => index % HeldOutEvery == HeldOutEvery - 1;
}
