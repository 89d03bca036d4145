using LowLevelSpec.Engine.Drafting;
using LowLevelSpec.Engine.Sampling;
using LowLevelSpec.Models;

namespace LowLevelSpec.Engine.Decoding;

/// <summary>Refuses unusable requests before anything is allocated.</summary>
internal static class RequestChecks
{
    /// <summary>The prompt's token ids.</summary>
    public static int[] Prompt(GenerationRequest request, LlamaConfig config, Tokenizer? tokenizer)
    {
        int given = (request.Prompt is null ? 0 : 1) + (request.PromptIds is null ? 0 : 1) + (request.Messages is null ? 0 : 1);
        if (given != 1)
        {
            throw new InputException($"request: found {given} of Prompt, PromptIds and Messages set, expected exactly one");
        }

        if (request.PromptIds is not null)
        {
            for (int i = 0; i < request.PromptIds.Count; i++)
            {
                CheckToken(request.PromptIds[i], config, $"prompt id {i}");
            }

            return [.. request.PromptIds];
        }

        if (tokenizer is null)
        {
            throw new InputException("this model comes without a tokenizer, so it can't read text: give the prompt as token ids");
        }

        int[] ids = request.Messages is not null ? tokenizer.EncodeChat(request.Messages) : EncodeText(request.Prompt!, config, tokenizer);
        foreach (int id in ids)
        {
            CheckToken(id, config, "a token of the prompt (the tokenizer belongs to another model)");
        }

        return ids;
    }

    /// <summary>Everything else that can be wrong.</summary>
    public static void Check(GenerationRequest request, LanguageModel model, int promptLength)
    {
        Check(request, model.Config, model.ContextLength, promptLength);
        if (!Enum.IsDefined(request.Lookup))
        {
            throw new InputException($"lookup: found {request.Lookup}, expected Auto, On or Off");
        }

        if (request is { Lookup: LookupMode.On, Tree.Adapts: false })
        {
            throw new InputException("lookup On joins trees that adapt only: take the tree Auto, or leave lookup at Auto");
        }

        if (request.StopStrings.Count > 0 && model.Tokenizer is null)
        {
            throw new InputException("stop strings need a tokenizer, and this model comes without one: use stop tokens");
        }

        if (request.StopStrings.Count > 0)
        {
            StopStringMatcher.Validate(request.StopStrings);
        }

        if (request.Drafter?.Owner is not null && request.Drafter.Owner != model)
        {
            throw new InputException("the drafter was opened for another model: open it with this model's OpenDrafter");
        }
    }

    /// <summary>What can be wrong wherever the target runs.</summary>
    public static void Check(GenerationRequest request, LlamaConfig config, int contextLength, int promptLength)
    {
        if (request.Sampling is null || request.StopTokens is null || request.StopStrings is null)
        {
            throw new InputException("request: Sampling, StopTokens and StopStrings must not be null; leave them out for their defaults");
        }

        if (promptLength == 0)
        {
            throw new InputException("the prompt is empty: give at least one token");
        }

        if (request.MaxNewTokens < 1)
        {
            throw new InputException($"max new tokens: found {request.MaxNewTokens}, expected at least 1");
        }

        if (promptLength >= contextLength)
        {
            throw new InputException($"the prompt has {promptLength} tokens and the context {contextLength}: shorten the prompt to leave room for at least one new token");
        }

        request.Sampling.Validate();
        request.Tree?.Validate();
        foreach (int token in request.StopTokens)
        {
            CheckToken(token, config, "stop token");
        }
    }

    private static int[] EncodeText(string text, LlamaConfig config, Tokenizer tokenizer)
    {
        int[] ids = tokenizer.Encode(text);

        // Llama-3 is trained with its begin token in front of every text; models without one start with the text itself.
        return tokenizer.AddsBeginToken && config.BeginToken is int begin ? [begin, .. ids] : ids;
    }

    private static void CheckToken(int id, LlamaConfig config, string what)
    {
        if ((uint)id >= (uint)config.VocabularySize)
        {
            throw new InputException($"{what}: found {id}, expected 0 to {config.VocabularySize - 1} (the model's vocabulary)");
        }
    }
}
