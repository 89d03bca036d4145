namespace LowLevelSpec.Models;

/// <summary>
/// Something that came from outside (a file, an option, a request, a peer) is unusable. The message is one sentence for the
/// person who supplied it: it names the file, tensor or option, what was found, what was expected and what to do.
/// </summary>
public class InputException : Exception
{
    /// <summary>Creates the exception with a message meant for the user.</summary>
    public InputException(string message) : base(message)
    {
    }

    /// <summary>Creates the exception with a message meant for the user and the failure behind it.</summary>
    public InputException(string message, Exception inner) : base(message, inner)
    {
    }
}

/// <summary>A model, drafter, tokenizer or configuration file is unusable. The message starts with the file's path.</summary>
public sealed class ModelFileException : InputException
{
    /// <summary>Creates the exception for <paramref name="path"/>.</summary>
    /// <param name="path">The offending file or folder.</param>
    /// <param name="reason">What was found, what was expected, what to do.</param>
    /// <param name="inner">The failure behind it, if any.</param>
    public ModelFileException(string path, string reason, Exception? inner = null)
        : base($"{path}: {reason}", inner!) => FilePath = path;

    /// <summary>The offending file or folder.</summary>
    public string FilePath { get; }
}
