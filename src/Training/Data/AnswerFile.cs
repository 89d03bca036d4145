using System.Text.Json;
using LowLevelSpec.Models;

namespace LowLevelSpec.Training.Data;

/// <summary>Distilled answers: JSON lines {"p": prompt ids, "a": answer ids}.</summary>
public static class AnswerFile
{
    /// <summary>Reads all lines; sequences are cut after <paramref name="maxLength"/> tokens, and dropped where fewer than <paramref name="minAnswer"/> answer tokens remain.</summary>
    /// <param name="path">The file.</param>
    /// <param name="vocabularySize">Ids must lie below it.</param>
    /// <param name="maxLength">Most tokens of a sequence.</param>
    /// <param name="minAnswer">Fewest answer tokens worth learning from.</param>
    /// <exception cref="InputException">Missing or malformed; names the line.</exception>
    public static IReadOnlyList<TrainingSequence> Read(string path, int vocabularySize, int maxLength, int minAnswer = 4)
    {
        List<TrainingSequence> sequences = [];
        int number = 0;
        try
        {
            foreach (string line in File.ReadLines(path))
            {
                number++;
                if (string.IsNullOrWhiteSpace(line))
                {
                    continue;
                }

                using JsonDocument json = JsonDocument.Parse(line);
                int[] prompt = Ids(json.RootElement, "p"), answer = Ids(json.RootElement, "a");
                foreach (int id in prompt.Concat(answer))
                {
                    if (id < 0 || id >= vocabularySize)
                    {
                        throw new FormatException($"token {id} is outside the target's vocabulary of {vocabularySize}");
                    }
                }

                int length = Math.Min(maxLength, prompt.Length + answer.Length);
                if (length - prompt.Length >= minAnswer)
                {
                    sequences.Add(new TrainingSequence([.. prompt.Concat(answer).Take(length)], [.. Enumerable.Range(0, length).Select(i => i >= prompt.Length)]));
                }
            }
        }
        catch (Exception e) when (e is JsonException or FormatException or InvalidOperationException or KeyNotFoundException)
        {
            throw new InputException($"{path}: line {number} is not {{\"p\": ids, \"a\": ids}} for this target: {e.Message}", e);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new InputException($"{path}: can't be read: {e.Message}", e);
        }

        return sequences;
    }

    private static int[] Ids(JsonElement row, string key) => [.. row.GetProperty(key).EnumerateArray().Select(static id => id.GetInt32())];
}
