using LowLevelSpec.Engine;
using LowLevelSpec.Engine.Decoding;
using LowLevelSpec.Engine.Drafting;
using LowLevelSpec.Models;

namespace LowLevelSpec.Cli.Prompts;

/// <summary>Decodes the prompts of files, for commands that measure.</summary>
internal static class PromptRunner
{
    /// <summary>Tokens of an unmeasured run, in which code is compiled and memory touched.</summary>
    private const int WarmUpTokens = 8;

    /// <summary>Decodes one prompt; what is wrong with it is told with its place.</summary>
    /// <exception cref="InputException">The prompt can't be decoded.</exception>
    public static GenerationResult Decode(LanguageModel model, FilePrompt prompt, GenerationRequest request, CancellationToken cancellation)
    {
        try
        {
            return model.Generate(prompt.Fill(request), cancellation);
        }
        catch (InputException e)
        {
            throw new InputException($"{prompt.Place}: {e.Message}", e);
        }
    }

    /// <summary>Decodes a prompt's first tokens plainly and with each of the drafters, unmeasured.</summary>
    public static void WarmUp(LanguageModel model, FilePrompt prompt, GenerationRequest request, IEnumerable<Drafter?> drafters, CancellationToken cancellation)
    {
        GenerationRequest first = request with { MaxNewTokens = Math.Min(request.MaxNewTokens, WarmUpTokens), Drafter = null };
        _ = Decode(model, prompt, first, cancellation);
        foreach (Drafter? drafter in drafters)
        {
            _ = Decode(model, prompt, first with { Drafter = drafter }, cancellation);
        }
    }
}
