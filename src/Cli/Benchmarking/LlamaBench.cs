using System.Diagnostics;
using System.Text;
using System.Text.Json;
using LowLevelSpec.Engine.Measuring;
using LowLevelSpec.Models;

namespace LowLevelSpec.Cli.Benchmarking;

/// <summary>One line of llama-bench.</summary>
/// <param name="Prompt">Tokens of a pp test, 0 for a tg test.</param>
/// <param name="Generated">Tokens of a tg test, 0 for a pp test.</param>
/// <param name="TokensPerSecond">One value per repetition.</param>
internal sealed record PeerResult(int Prompt, int Generated, IReadOnlyList<double> TokensPerSecond);

/// <summary>llama.cpp's own benchmark, built once from a peer folder and run on the model that is measured.</summary>
internal sealed class LlamaBench
{
    private const string Binary = "llama.cpp-src/build/bin/llama-bench", Script = "run.sh", Log = "build.log";

    private readonly string _binary, _model;

    private LlamaBench(string binary, string model) => (_binary, _model) = (binary, model);

    /// <summary>Build number and commit, once a test has run.</summary>
    public string? Version { get; private set; }

    /// <summary>Where the build goes unless told otherwise.</summary>
    public static string DefaultCache => Path.Combine(UserCache.Folder ?? Path.GetTempPath(), "llama-bench");

    /// <summary>Builds the peer where the cache does not hold it yet.</summary>
    /// <param name="folder">Holds run.sh; may be read-only.</param>
    /// <param name="cache">Where packages, sources and binary go.</param>
    /// <param name="model">The .gguf file to measure.</param>
    /// <param name="console">Told that it takes a while.</param>
    /// <param name="cancellation">Ends the build.</param>
    /// <exception cref="InputException">No such folder, no GGUF file, or the build failed.</exception>
    public static LlamaBench Prepare(string folder, string cache, string model, CliConsole console, CancellationToken cancellation)
    {
        string script = Path.Combine(folder, Script);
        if (!File.Exists(script))
        {
            throw new InputException($"--peer {folder}: holds no {Script}; name the folder whose {Script} builds llama-bench");
        }

        if (OperatingSystem.IsWindows())
        {
            throw new InputException($"--peer {folder}: {Script} needs a POSIX shell; leave --peer out on Windows");
        }

        if (!Path.GetExtension(model).Equals(".gguf", StringComparison.OrdinalIgnoreCase) || !File.Exists(model))
        {
            throw new InputException($"--peer {folder}: llama-bench reads .gguf files, found {model}; give such a model, or leave --peer out");
        }

        string binary = Path.GetFullPath(Path.Combine(cache, Binary));
        if (!File.Exists(binary))
        {
            console.Error.WriteLine($"bench: builds llama-bench into {cache}; this takes some minutes, once");
            Build(script, Path.GetFullPath(cache), cancellation);
        }

        return File.Exists(binary)
            ? new LlamaBench(binary, Path.GetFullPath(model))
            : throw new InputException($"--peer {folder}: {Script} ended well but left no {binary}; is it made for another version of llama.cpp?");
    }

    /// <summary>Runs pp tests of each of <paramref name="prompts"/> and, where above 0, a tg test.</summary>
    /// <param name="threads">Threads.</param>
    /// <param name="context">Tokens in front of every test.</param>
    /// <param name="prompts">Tokens of each pp test.</param>
    /// <param name="generated">Tokens of the tg test; 0 = none.</param>
    /// <param name="repetitions">Repetitions of each.</param>
    /// <param name="cancellation">Ends it.</param>
    /// <exception cref="InputException">It failed; the message carries its last line.</exception>
    public List<PeerResult> Run(int threads, int context, IReadOnlyList<int> prompts, int generated, int repetitions, CancellationToken cancellation)
    {
        ProcessStartInfo start = new(_binary)
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            UseShellExecute = false,
        };
        foreach (string argument in (string[])[
            "-m", _model, "-t", $"{threads}", "-d", $"{context}", "-p", prompts.Count == 0 ? "0" : string.Join(',', prompts), "-n", $"{generated}",
            "-r", $"{repetitions}", "-b", "512", "-ub", "512", "-o", "jsonl"])
        {
            start.ArgumentList.Add(argument);
        }

        (int code, string output, string error) = Execute(start, cancellation);
        if (code != 0)
        {
            throw new InputException($"llama-bench ended with {code}: {LastLine(error)}; try {_binary} -m {_model} by hand");
        }

        return [.. output.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries).Where(static line => line.StartsWith('{')).Select(Parse)];
    }

    private PeerResult Parse(string line)
    {
        using JsonDocument document = JsonDocument.Parse(line);
        JsonElement root = document.RootElement;
        Version = $"{root.GetProperty("build_number")} ({root.GetProperty("build_commit").GetString()})";
        return new PeerResult(
            root.GetProperty("n_prompt").GetInt32(),
            root.GetProperty("n_gen").GetInt32(),
            [.. root.GetProperty("samples_ts").EnumerateArray().Select(static value => value.GetDouble())]);
    }

    private static void Build(string script, string cache, CancellationToken cancellation)
    {
        try
        {
            string shim = WriteCompiler(cache);
            ProcessStartInfo start = new("bash")
            {
                RedirectStandardOutput = true,
                RedirectStandardError = true,
                UseShellExecute = false,
            };
            start.ArgumentList.Add(Path.GetFullPath(script));
            start.Environment["PEER_DIR"] = cache;
            start.Environment["STAGES"] = "install";
            start.Environment["LLAMA_BENCH"] = "1";

            // A blank is a list of nothing; an empty variable would mean the script's default, all models.
            start.Environment["MODELS"] = start.Environment["QUANTS"] = " ";
            start.Environment["PATH"] = shim + Path.PathSeparator + Environment.GetEnvironmentVariable("PATH");
            start.Environment.TryAdd("CC", "/usr/bin/cc");
            (int code, string output, string error) = Execute(start, cancellation);
            string log = Path.Combine(cache, Log);
            File.WriteAllText(log, output + error);
            if (code != 0)
            {
                throw new InputException($"--peer: {script} failed: {LastLine(error)}; it needs npm, git, cmake, ninja and a C++ compiler; the whole log is {log}, and deleting {cache} starts it over");
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new InputException($"--peer-cache {cache}: can't be written: {FileProblem.Reason(e)}; choose another folder", e);
        }
    }

    /// <summary>
    /// Stands before the compiler for the script's own two probes (stream.c, peak.c), whose AVX-512 code does not compile everywhere: the script
    /// would end there, before it builds llama-bench. This run measures the bandwidth itself and needs neither.
    /// </summary>
    private static string WriteCompiler(string cache)
    {
        string folder = Directory.CreateDirectory(Path.Combine(cache, "shim")).FullName, path = Path.Combine(folder, "cc");
        File.WriteAllText(path, "#!/bin/sh\n/usr/bin/cc \"$@\" && exit 0\ncase \"$*\" in\n*/peak.c*|*/stream.c*) echo 'a probe does not compile here and is left out' >&2 ;;\n*) exit 1 ;;\nesac\n");
        if (!OperatingSystem.IsWindows())
        {
            File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        }

        return folder;
    }

    private static (int Code, string Output, string Error) Execute(ProcessStartInfo start, CancellationToken cancellation)
    {
        try
        {
            using Process process = Process.Start(start)!;
            using CancellationTokenRegistration kill = cancellation.Register(() => process.Kill(entireProcessTree: true));
            StringBuilder error = new();
            process.ErrorDataReceived += (_, line) => error.AppendLine(line.Data);
            process.BeginErrorReadLine();
            string output = process.StandardOutput.ReadToEnd();
            process.WaitForExit();
            cancellation.ThrowIfCancellationRequested();
            return (process.ExitCode, output, error.ToString());
        }
        catch (System.ComponentModel.Win32Exception e)
        {
            throw new InputException($"{start.FileName} can't be started: {e.Message}; install it, or leave --peer out", e);
        }
    }

    private static string LastLine(string text) => text.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries).LastOrDefault() ?? "no message";
}
