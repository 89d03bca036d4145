using System.CommandLine;
using LowLevelSpec.Engine.Drafting;
using LowLevelSpec.Models;

namespace LowLevelSpec.Cli.Options;

/// <summary><c>--draft-vocabulary</c>: which tokens a drafter's LM head scores.</summary>
internal sealed class DraftVocabularyOption : Option<string?>
{
    private const string OptionName = "--draft-vocabulary", All = "off";

    public DraftVocabularyOption()
        : base(OptionName)
    {
        Description = "Token ids that a drafter's LM head scores: a file of ids, or off for all; by default the checkpoint's own table, on the CPU with the prompt's tokens besides. The text is the same either way.";
        HelpName = "FILE|off";
    }

    /// <summary>The file, where one is named.</summary>
    public IReadOnlyList<string> Files(ParseResult result) => result.GetValue(this) is { Length: > 0 } file and not All ? [file] : [];

    /// <summary>See <see cref="DrafterOptions.DraftVocabulary"/>.</summary>
    /// <exception cref="InputException">A file that can't be read or holds something else than token ids.</exception>
    public IReadOnlyList<int>? Read(ParseResult result) => result.GetValue(this) switch
    {
        null => null,
        All => [],
        string file => TokenIds.ReadFile(OptionName, Filled.In(OptionName, file)),
    };
}
