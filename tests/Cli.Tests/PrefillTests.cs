using System.Diagnostics;
using Xunit;

namespace LowLevelSpec.Cli.Tests;

/// <summary>What <c>--prefill</c> does where cuBLAS is missing, in processes of their own: a process looks for the library once.</summary>
public sealed class PrefillTests
{
    private const string Missing = "/nowhere/libcublas.so";

    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(2);

    [Fact]
    public void Without_cublas_the_error_names_it_and_says_what_to_do()
    {
        CliRun run = Run("cublas");
        Assert.Equal(1, run.Code);
        Assert.Empty(run.Out);
        foreach (string part in (string[])["--prefill cublas", Missing, "LLSPEC_CUBLAS_LIBRARY", "--prefill kernels"])
        {
            Assert.Contains(part, run.Error, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void Without_cublas_auto_falls_back_to_the_kernels()
    {
        CliRun automatic = Run("auto"), kernels = Run("kernels");
        Assert.Equal(0, automatic.Code);
        Assert.Equal(kernels.Out, automatic.Out);
    }

    [Fact]
    public void Other_words_are_refused()
    {
        CliRun run = CliRun.Of("generate", "--model", TinyFiles.Target, "--prompt", "x", "--prefill", "mkl");
        Assert.Equal(1, run.Code);
        Assert.Contains("found 'mkl', expected kernels, cublas or auto", run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public void A_server_takes_the_kernels()
    {
        CliRun run = CliRun.Of("serve", "--model", TinyFiles.Target, "--prefill", "auto");
        Assert.Equal(1, run.Code);
        Assert.Contains("--prefill", run.Error, StringComparison.Ordinal);
    }

    private static CliRun Run(string prefill)
    {
        Assert.SkipWhen(FindEmulated() is null, "no emulated device is built (./build.sh native)");
        ProcessStartInfo start = new(Path.Combine(AppContext.BaseDirectory, OperatingSystem.IsWindows() ? "llspec.exe" : "llspec")) { RedirectStandardError = true, RedirectStandardOutput = true, UseShellExecute = false };
        foreach (string argument in (string[])["generate", "--model", TinyFiles.Target, "--device", "emulated", "--prompt", "The drafter", "--max-new", "3", "--drafter", "none", "--prefill", prefill])
        {
            start.ArgumentList.Add(argument);
        }

        start.Environment["LLSPEC_CUBLAS_LIBRARY"] = Missing;
        using Process process = Process.Start(start)!;
        Task<string> error = process.StandardError.ReadToEndAsync();
        string output = process.StandardOutput.ReadToEnd();
        Assert.True(process.WaitForExit(Limit), "the program does not end");
        return new CliRun(process.ExitCode, output, error.Result);
    }

    private static string? FindEmulated()
    {
        for (DirectoryInfo? folder = new(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            string built = Path.Combine(folder.FullName, "out", "native", "libllspec_cuda_emulated.so");
            if (File.Exists(built))
            {
                return built;
            }
        }

        return Environment.GetEnvironmentVariable("LLSPEC_CUDA_LIBRARY");
    }
}
