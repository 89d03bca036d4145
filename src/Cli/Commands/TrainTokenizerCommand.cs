using System.CommandLine;
using LowLevelSpec.Cli.Options;
using LowLevelSpec.Models;
using LowLevelSpec.Training.LanguageModels;

namespace LowLevelSpec.Cli.Commands;

/// <summary><c>llspec train-tokenizer</c>: fits a byte-level BPE to a text.</summary>
internal sealed class TrainTokenizerCommand : Command
{
    private const int DefaultVocabulary = 4096;

    /// <summary>Ends a document; id 0.</summary>
    private const string EndToken = "<|end|>";

    /// <summary>What was said so far, line by line, for the model to go on with: a model of plain text knows no turns.</summary>
    private const string ChatTemplate = @"{% for message in messages %}{% if not loop.first %}{{ '\n' }}{% endif %}{{ message['content'] }}{% endfor %}";

    private readonly CliConsole _console;
    private readonly Option<string> _text = new("--text") { Description = "UTF-8 text; a blank line ends a document.", HelpName = "FILE", Required = true };
    private readonly Option<string> _out = new("--out") { Description = "Folder for tokenizer.json and tokenizer_config.json; it is created.", HelpName = "DIR", Required = true };
    private readonly NumberOption<int> _vocabulary = new("--vocabulary", $"Most token ids in all; {DefaultVocabulary} by default.", low: 257, high: 1 << 20);

    public TrainTokenizerCommand(CliConsole console)
        : base("train-tokenizer", "Fit a byte-level BPE tokenizer to a text.")
    {
        _console = console;
        Add(_text);
        Add(_vocabulary);
        Add(_out);
        SetAction(Run);
    }

    private int Run(ParseResult result)
    {
        string folder = Filled.In("--out", result.GetRequiredValue(_out));
        int vocabulary = _vocabulary.Read(result) ?? DefaultVocabulary;
        TextCorpus corpus = TextCorpus.Read(Filled.In("--text", result.GetRequiredValue(_text)));
        BpeTrainer trainer = new(corpus.Training, vocabulary, [EndToken]);
        try
        {
            Directory.CreateDirectory(folder);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new InputException($"--out {folder}: can't be made: {FileProblem.Reason(e)}; choose another folder", e);
        }

        trainer.Write(folder, ChatTemplate);
        Tokenizer tokenizer = Tokenizer.Open(folder)!;
        long characters = corpus.HeldOut.Sum(static d => (long)d.Length), tokens = corpus.HeldOut.Sum(d => (long)tokenizer.Encode(d).Length);
        string heldOut = tokens == 0 ? "" : $", {characters / (double)tokens:0.00} characters a token on held-out documents";
        _console.Out.WriteLine($"{trainer.Count} tokens from {corpus.Training.Count} documents{heldOut}, in {folder}");
        return ExitCode.Well;
    }
}
