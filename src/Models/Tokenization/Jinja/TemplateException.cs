namespace LowLevelSpec.Models.Jinja;

/// <summary>A template cannot be read or run. Callers turn it into an exception that names the file.</summary>
internal sealed class TemplateException : Exception
{
    public TemplateException(int line, string reason, bool raisedByTemplate = false) : base(reason)
    {
        Line = line;
        RaisedByTemplate = raisedByTemplate;
    }

    /// <summary>The template's line, from 1.</summary>
    public int Line { get; }

    /// <summary>Whether the template itself refuses (raise_exception).</summary>
    public bool RaisedByTemplate { get; }
}
