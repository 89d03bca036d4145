using System.Text;
using Xunit;

namespace LowLevelSpec.Models.Tests.Files;

/// <summary>A folder that vanishes with the test.</summary>
internal sealed class TempFolder : IDisposable
{
    public TempFolder() => Path = Directory.CreateTempSubdirectory("llspec-").FullName;

    public string Path { get; }

    public string this[string name] => System.IO.Path.Combine(Path, name);

    public string Write(string name, byte[] bytes)
    {
        File.WriteAllBytes(this[name], bytes);
        return this[name];
    }

    public string Write(string name, string text) => Write(name, Encoding.UTF8.GetBytes(text));

    public void Dispose() => Directory.Delete(Path, recursive: true);
}

/// <summary>The <c>shared</c> folder with golden files and models, that LLSPEC_SHARED names, or that a checkout or one of its parents has beside it.</summary>
internal static class SharedFolder
{
    public static string? TryFind()
    {
        if (Environment.GetEnvironmentVariable("LLSPEC_SHARED") is { Length: > 0 } named && Directory.Exists(named))
        {
            return named;
        }

        for (DirectoryInfo? folder = new(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            string shared = Path.Combine(folder.FullName, "shared");
            if (Directory.Exists(Path.Combine(shared, "golden")))
            {
                return shared;
            }
        }

        return null;
    }

    /// <summary>Path of a file or folder below it; skips the test where there is none.</summary>
    public static string Require(params string[] parts)
    {
        string? shared = TryFind();
        Assert.SkipWhen(shared is null, "no 'shared' folder with golden files beside this checkout");
        string path = Path.Combine([shared!, .. parts]);
        Assert.SkipUnless(Path.Exists(path), $"{path} is not there");
        return path;
    }
}

/// <summary>Bytes of hand-made files, so that tests can state what no writer would.</summary>
internal static class Raw
{
    public static byte[] Safetensors(string header, int dataBytes = 0, ulong? announced = null) =>
        [.. BitConverter.GetBytes(announced ?? (ulong)Encoding.UTF8.GetByteCount(header)), .. Encoding.UTF8.GetBytes(header), .. new byte[dataBytes]];

    public static byte[] Gguf(ulong tensors, ulong pairs, Action<BinaryWriter>? body = null, uint version = 3, int dataBytes = 0)
    {
        using MemoryStream stream = new();
        using BinaryWriter writer = new(stream);
        writer.Write("GGUF"u8);
        writer.Write(version);
        writer.Write(tensors);
        writer.Write(pairs);
        body?.Invoke(writer);
        while (dataBytes > 0 && stream.Position % 32 != 0)
        {
            writer.Write((byte)0);
        }

        writer.Write(new byte[dataBytes]);
        return stream.ToArray();
    }

    public static void Text(this BinaryWriter writer, string text)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(text);
        writer.Write((ulong)bytes.Length);
        writer.Write(bytes);
    }

    public static void Tensor(this BinaryWriter writer, string name, uint type, ulong offset, params ulong[] dims)
    {
        writer.Text(name);
        writer.Write((uint)dims.Length);
        foreach (ulong dim in dims)
        {
            writer.Write(dim);
        }

        writer.Write(type);
        writer.Write(offset);
    }
}
