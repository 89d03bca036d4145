using System.CommandLine;

namespace LowLevelSpec.Cli.Commands;

internal sealed class InspectCommand : Command
{
    public InspectCommand(CliConsole console)
        : base("inspect", "Say what is in a model file or folder, and check it whole.") => SetAction(_ => { console.Out.WriteLine(); return 0; });
}
