using System.Runtime.InteropServices;
using LowLevelSpec.Cli;

#if MANAGED_CUDA
LowLevelSpec.Interop.Cuda.CudaDriver.Other = new LowLevelSpec.Interop.ManagedCuda.ManagedCudaDriver();
#endif
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
