using System.Diagnostics;
using Xunit;

namespace LowLevelSpec.Cli.Tests;

/// <summary>A training process that dies at any moment, twenty times, ends with the bytes of one that never did.</summary>
public sealed class KillTests(ITestOutputHelper output)
{
    private const int Kills = 20, Steps = 90;

    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(2);

    [Fact]
    public void Twenty_kills_change_no_byte_of_log_checkpoint_and_drafter()
    {
        string folder = Directory.CreateTempSubdirectory("llspec-kill-").FullName;
        try
        {
            string data = Path.Combine(folder, "answers.jsonl"), whole = Path.Combine(folder, "whole"), killed = Path.Combine(folder, "killed");
            File.WriteAllLines(data, Enumerable.Range(0, 110).Select(static i => $$"""{"p":[2,{{5 + i}},7],"a":[{{string.Join(',', Enumerable.Range(i, 12))}}]}"""));
            Finish(Start(data, whole));

            // Half of the kills come at a random time after the start, loading included, the others a few steps on.
            Random random = new(20);
            for (int kill = 0; kill < Kills; kill++)
            {
                using Process process = Start(data, killed);
                Stopwatch watch = Stopwatch.StartNew();
                int goal = kill % 2 == 0 ? int.MaxValue : Lines(killed) + random.Next(1, 9);
                TimeSpan time = kill % 2 == 0 ? TimeSpan.FromMilliseconds(random.Next(20, 700)) : Limit;
                while (watch.Elapsed < time && Lines(killed) < goal && !process.HasExited)
                {
                    Thread.Sleep(1);
                }

                Assert.False(process.HasExited, $"kill {kill}: the training ended before it could be killed");
                process.Kill();
                process.WaitForExit();
                output.WriteLine($"kill {kill + 1} after {watch.ElapsedMilliseconds} ms, {Lines(killed)} steps in the log");
            }

            Finish(Start(data, killed));
            foreach (string file in (string[])["log.jsonl", "held-out.jsonl", "checkpoint.safetensors", "model.safetensors", "config.json"])
            {
                Assert.Equal(File.ReadAllBytes(Path.Combine(whole, file)), File.ReadAllBytes(Path.Combine(killed, file)));
            }

            Assert.Equal(Steps, Lines(killed));
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static Process Start(string data, string folder)
    {
        ProcessStartInfo start = new(Path.Combine(AppContext.BaseDirectory, OperatingSystem.IsWindows() ? "llspec.exe" : "llspec")) { RedirectStandardError = true, RedirectStandardOutput = true, UseShellExecute = false };
        foreach (string argument in (string[])["train", "--model", TinyFiles.Target, "--data", data, "--out", folder, "--kv-heads", "2", "--mlp", "16", "--lsa-mlp", "16", "--tokens", "64", "--checkpoint-every", "3", "--measure-every", "4", "--held-out", "1", "--steps", $"{Steps}"])
        {
            start.ArgumentList.Add(argument);
        }

        Process process = Process.Start(start)!;
        process.BeginErrorReadLine();
        process.BeginOutputReadLine();
        return process;
    }

    private static void Finish(Process process)
    {
        using (process)
        {
            Assert.True(process.WaitForExit(Limit), "the training does not end");
            Assert.Equal(0, process.ExitCode);
        }
    }

    private static int Lines(string folder)
    {
        string path = Path.Combine(folder, "log.jsonl");
        if (!File.Exists(path))
        {
            return 0;
        }

        using FileStream stream = new(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
        byte[] bytes = new byte[stream.Length];
        return bytes.AsSpan(0, stream.ReadAtLeast(bytes, bytes.Length, throwOnEndOfStream: false)).Count((byte)'\n');
    }
}
