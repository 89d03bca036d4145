using System.Runtime.InteropServices;
using LowLevelSpec.Cli;

CliConsole console = new(StandardOutput.Open(), Console.Error, Console.In)
{
    OutIsTerminal = !Console.IsOutputRedirected,
    ErrorIsTerminal = !Console.IsErrorRedirected,
    InIsTerminal = !Console.IsInputRedirected,
};
using PosixSignalRegistration interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, context =>
{
    context.Cancel = true;
    if (!console.Interrupts.TryCancel())
    {
        Environment.Exit(ExitCode.Interrupted);
    }
});
return CliApp.Run(args, console);
